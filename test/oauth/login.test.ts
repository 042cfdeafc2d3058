import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import * as oidc from "openid-client";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { memoryStore } from "../../src/store/memory.ts";
import { redisStore } from "../../src/store/redis.ts";
import { sealed } from "../../src/store/sealed.ts";
import {
  approve,
  jane,
  loginRequest,
  newCode,
  open,
  refresh,
  SIGN_IN_MAX_AGE,
  signedIn,
  startAuthorization,
  target,
  token,
  tokensOf,
  type Authorization,
} from "../support/authorization.ts";
import { recordingLog } from "../support/log.ts";
import { PathCookies } from "../support/path-cookies.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

let redis: TestRedis;
let store: ReturnType<typeof redisStore>;
let of: Authorization;

beforeAll(async () => {
  redis = await startRedis();
  store = redisStore(redis.url, recordingLog());
  of = await startAuthorization(sealed(store, randomBytes(32), recordingLog()));
});
afterAll(async () => {
  await of.close();
  await store.close();
  await redis.stop();
});
beforeEach(() => {
  of.person = jane();
});

describe("a sign-in of the command line", () => {
  it("goes through with a stock OpenID client, from discovery to a refresh", async () => {
    const config = await oidc.discovery(new URL(of.issuer), "rolecall-cli", undefined, oidc.None(), {
      // eslint-disable-next-line @typescript-eslint/no-deprecated -- plain http on loopback, as its own note has it
      execute: [oidc.allowInsecureRequests],
    });
    const verifier = oidc.randomPKCECodeVerifier();
    const address = oidc.buildAuthorizationUrl(config, {
      redirect_uri: "http://127.0.0.1:40123/callback",
      scope: "openid offline_access credentials",
      state: "s-1",
      nonce: "n-1",
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
    });
    const browser = new PathCookies(of.url);
    const page = target(await browser.get(address.href));
    expect(page.href).toMatch(new RegExp(`^${of.issuer}/approve/[\\w-]{43}$`));
    const shown = await browser.get(page.href);
    expect(await shown.json()).toEqual({
      uid: page.pathname.split("/").at(-1),
      clientName: "Rolecall command line",
      redirectUri: "http://127.0.0.1:40123/callback",
    });
    const resume = target(await browser.post(page.href, { decision: "approve" }));
    const back = target(await browser.get(resume.href));
    expect(back.origin + back.pathname).toBe("http://127.0.0.1:40123/callback");

    const tokens = await oidc.authorizationCodeGrant(config, back, {
      pkceCodeVerifier: verifier,
      expectedState: "s-1",
      expectedNonce: "n-1",
    });
    expect(tokens).toMatchObject({ token_type: "bearer", expires_in: 600, scope: "openid credentials" });
    expect(tokens.claims()?.sub).toMatch(/^[\w-]{43}$/);
    expect(await of.server.grantOf(tokens.access_token)).toEqual({
      grantId: expect.any(String) as string,
      clientId: "rolecall-cli",
      identity: of.person,
    });
    const next = await oidc.refreshTokenGrant(config, String(tokens.refresh_token));
    expect(next.claims()?.sub).toBe(tokens.claims()?.sub);
    expect((await of.server.grantOf(next.access_token))?.identity).toEqual(of.person);
    expect(next.refresh_token).not.toBe(tokens.refresh_token);
  });

  it.each(["http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback", "http://[::1]:8080/callback"])(
    "comes back to %s",
    async (redirectUri) => {
      const { redeem } = await newCode(of, { redirect_uri: redirectUri });
      expect((await redeem()).status).toBe(200);
    },
  );

  it("gives another opaque subject to every person, and the same to one", async () => {
    const subjectOf = async (): Promise<unknown> => {
      const { body } = await (await newCode(of)).redeem();
      const [, claims = ""] = String(body["id_token"]).split(".");
      return (JSON.parse(Buffer.from(claims, "base64url").toString()) as { sub: unknown }).sub;
    };
    const first = await subjectOf();
    of.person = jane({ email: "jane.doe@acme.example", provider: "okta-saml" });
    expect(await subjectOf()).toBe(first);
    of.person = jane({ directory: "entra" });
    expect(await subjectOf()).not.toBe(first);
    expect(String(first)).not.toContain("jane");
  });

  it("refuses an approval whose sign-in is too old, and takes it after another sign-in", async () => {
    of.person = jane({ signedInAt: Date.now() - SIGN_IN_MAX_AGE * 1000 });
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, loginRequest()));
    const answer = await browser.post(page.href, { decision: "approve" });
    expect(await answer.json()).toEqual({ code: "sign_in_expired" });
    of.person = jane();
    expect((await browser.post(page.href, { decision: "approve" })).status).toBe(303);
  });

  it("behind a proxy that ends TLS, sets Secure cookies and stays at the configured address", async () => {
    const issuer = "https://rolecall.acme.example/oauth";
    const behind = await startAuthorization(memoryStore(), { issuer });
    try {
      const browser = new PathCookies(behind.url);
      const opened = await open({ ...behind, issuer: `${behind.url}/oauth` }, browser, loginRequest());
      expect(opened.headers.getSetCookie()).toHaveLength(4);
      for (const cookie of opened.headers.getSetCookie()) {
        expect(cookie).toMatch(/^__Secure-rolecall-.+; path=\/oauth\/.+; secure; httponly/);
        expect(cookie).toContain("samesite=lax");
      }
      const resume = target(await browser.post(target(opened).href, { decision: "approve" }));
      expect(resume.href).toMatch(/^https:\/\/rolecall\.acme\.example\/oauth\/auth\//);
      const back = target(await browser.get(`${behind.url}${resume.pathname}`));
      expect(back.searchParams.get("iss")).toBe(issuer);
      expect(back.searchParams.get("code")).toMatch(/^[\w-]{43}$/);
    } finally {
      await behind.close();
    }
  });
});

describe("no request is answered silently", () => {
  it("asks again in a browser that has just approved one, and lets another person answer", async () => {
    const browser = new PathCookies(of.url);
    await approve(of, loginRequest(), browser);
    const page = target(await open(of, browser, loginRequest({ prompt: undefined })));
    expect(page.pathname).toMatch(/^\/oauth\/approve\//);

    of.person = jane({ subject: "00u-joe", email: "joe@acme.example" });
    const request = loginRequest();
    const back = await approve(of, request, browser);
    const answer = await token(of, {
      grant_type: "authorization_code",
      code: back.searchParams.get("code") ?? "",
      redirect_uri: request.parameters["redirect_uri"],
      code_verifier: request.verifier,
    });
    expect((await of.server.grantOf(tokensOf(answer).access))?.identity.email).toBe("joe@acme.example");
  });

  it("answers prompt=none by an error, also after an approval", async () => {
    const browser = new PathCookies(of.url);
    await approve(of, loginRequest(), browser);
    const back = target(await open(of, browser, loginRequest({ prompt: "none" })));
    expect(back.searchParams.get("error")).toBe("login_required");
    expect(back.searchParams.get("code")).toBeNull();
  });

  it("asks again when the approval is skipped on the way", async () => {
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, loginRequest()));
    const resumed = target(await browser.get(page.href.replace("/approve/", "/auth/")));
    expect(resumed.pathname).toMatch(/^\/oauth\/approve\//);
    expect(resumed.href).not.toBe(page.href);
  });

  it("keeps no session of its own in the browser", async () => {
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, loginRequest()));
    const waiting = ["rolecall-approval", "rolecall-approval.sig", "rolecall-resume", "rolecall-resume.sig"];
    expect(browser.names().sort()).toEqual(waiting);
    const resume = target(await browser.post(page.href, { decision: "approve" }));
    await browser.get(resume.href);
    expect(browser.names().sort()).toEqual(["rolecall-approval", "rolecall-approval.sig"]);
  });
});

describe("the approval", () => {
  it("sends a no back to the command line", async () => {
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, loginRequest()));
    const resume = target(await browser.post(page.href, { decision: "decline" }));
    const back = target(await browser.get(resume.href));
    expect(Object.fromEntries(back.searchParams)).toEqual({
      error: "access_denied",
      error_description: "You declined to give the command line access.",
      state: "state-1",
      iss: of.issuer,
    });
  });

  it("keeps two tabs of one browser apart", async () => {
    const browser = new PathCookies(of.url);
    const [one, two] = [loginRequest({ state: "one" }), loginRequest({ state: "two" })];
    const first = target(await open(of, browser, one));
    const second = target(await open(of, browser, two));
    for (const [page, state] of [
      [first, "one"],
      [second, "two"],
    ] as const) {
      const resume = target(await browser.post(page.href, { decision: "approve" }));
      const back = target(await browser.get(resume.href));
      expect(back.searchParams.get("state")).toBe(state);
      expect(back.searchParams.get("code")).toMatch(/^[\w-]{43}$/);
    }
  });

  it("takes one of ten answers at once", async () => {
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, loginRequest()));
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) => browser.post(page.href, { decision: i % 2 === 0 ? "approve" : "decline" })),
    );
    expect(answers.filter(({ status }) => status === 303)).toHaveLength(1);
    for (const answer of answers.filter(({ status }) => status !== 303)) {
      expect(await answer.json()).toEqual({ code: "approval_unknown" });
    }
  });

  it("gives one code to ten resumptions at once", async () => {
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, loginRequest()));
    const resume = target(await browser.post(page.href, { decision: "approve" }));
    const backs = await Promise.all(Array.from({ length: 10 }, () => browser.get(resume.href)));
    const codes = backs.filter((back) => back.status === 303).map((back) => target(back).searchParams.get("code"));
    expect(codes).toHaveLength(1);
  });

  const lost: [name: string, make: () => Promise<[PathCookies, URL]>][] = [
    [
      "answered already (back button, double submit)",
      async () => {
        const browser = new PathCookies(of.url);
        const page = target(await open(of, browser, loginRequest()));
        await browser.post(page.href, { decision: "approve" });
        return [browser, page];
      },
    ],
    [
      "finished already",
      async () => {
        const browser = new PathCookies(of.url);
        const page = target(await open(of, browser, loginRequest()));
        await browser.get(target(await browser.post(page.href, { decision: "approve" })).href);
        return [browser, page];
      },
    ],
    [
      "begun in another browser",
      async () => [new PathCookies(of.url), target(await open(of, new PathCookies(of.url), loginRequest()))],
    ],
    [
      "made up",
      async () => {
        const browser = new PathCookies(of.url);
        await open(of, browser, loginRequest());
        return [browser, new URL(`${of.issuer}/approve/${"x".repeat(43)}`)];
      },
    ],
  ];
  it.each(lost)("is not there for a request that was %s", async (_name, make) => {
    const [browser, page] = await make();
    expect(await (await browser.get(page.href)).json()).toBeNull();
    for (const decision of ["approve", "decline"]) {
      const answer = await browser.post(page.href, { decision });
      expect([answer.status, await answer.json()]).toEqual([400, { code: "approval_unknown" }]);
    }
    const resumed = await browser.get(page.href.replace("/approve/", "/auth/"));
    if (resumed.status !== 303) {
      expect(resumed.status).toBe(400);
      expect(await resumed.text()).toContain("This request of the command line has ended");
    }
  });

  it("expires after ten minutes", async () => {
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, loginRequest()));
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 11 * 60_000 });
    try {
      expect(await (await browser.get(page.href)).json()).toBeNull();
      const answer = await browser.post(page.href, { decision: "approve" });
      expect(await answer.json()).toEqual({ code: "approval_unknown" });
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("lifetimes", () => {
  /** Does `step` as if so many seconds had gone by. Redis keeps its own time, so this shows the checks beside it. */
  async function after<T>(seconds: number, step: () => Promise<T>): Promise<T> {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + seconds * 1000 });
    try {
      return await step();
    } finally {
      vi.useRealTimers();
    }
  }

  it("a code lives a minute", async () => {
    const { redeem } = await newCode(of);
    expect(await after(62, () => redeem())).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
  });

  it("an access token lives ten minutes", async () => {
    const { access } = await signedIn(of);
    expect(await after(599, () => of.server.grantOf(access))).toBeDefined();
    expect(await after(620, () => of.server.grantOf(access))).toBeUndefined();
  });

  it("nothing outlives the sign-in, however often it is refreshed", async () => {
    of.person = jane({ signedInAt: Date.now() - (SIGN_IN_MAX_AGE - 100) * 1000 });
    const { body } = await (await newCode(of)).redeem();
    expect(body["expires_in"]).toBeLessThanOrEqual(100);
    const next = await refresh(of, String(body["refresh_token"]));
    expect(next.body["expires_in"]).toBeLessThanOrEqual(100);
    const { refresh: last } = tokensOf(next);
    expect(await after(120, () => refresh(of, last))).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
    expect(Math.max(...(await lifetimes()))).toBeLessThanOrEqual(SIGN_IN_MAX_AGE + 60);
  });

  it("every key in the store has its end, and stands in docs/store.md", async () => {
    const tokens = await signedIn(of);
    await refresh(of, tokens.refresh);
    await refresh(of, tokens.refresh);
    await open(of, new PathCookies(of.url), loginRequest());
    expect(Math.min(...(await lifetimes()))).toBeGreaterThan(0);

    const table = await readFile(new URL("../../docs/store.md", import.meta.url), "utf8");
    const documented = [...table.matchAll(/^\| `(oauth:[^`]+)`/gm)].map(([, key = ""]) => `rolecall:${key}`);
    const kinds = new Set(
      [...(await redis.dump()).keys()].map((key) =>
        key.replace(/\{[\w-]{43}\}/, "{GRANT}").replace(/:[\w-]{43}(?=:|$)/, ":HASH"),
      ),
    );
    expect([...kinds].sort()).toEqual(documented.sort());
  });

  async function lifetimes(): Promise<number[]> {
    return [...(await redis.lifetimes()).values()];
  }
});
