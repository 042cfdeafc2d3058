import * as oidc from "openid-client";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { memoryStore } from "../../src/store/memory.ts";
import {
  approve,
  jane,
  loginRequest,
  newCode,
  open,
  startAuthorization,
  target,
  token,
  tokensOf,
  SIGN_IN_MAX_AGE,
  type Authorization,
} from "../support/authorization.ts";
import { startBrokers, type Brokers } from "../support/brokers.ts";
import { PathCookies } from "../support/path-cookies.ts";

let brokers: Brokers;
let of: Authorization;

beforeAll(async () => {
  brokers = await startBrokers();
  ({ of } = brokers);
});
afterAll(() => brokers.close());
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
      mayIssue: true,
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
