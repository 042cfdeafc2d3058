import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
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
  signedIn,
  startAuthorization,
  target,
  token,
  tokensOf,
  type Answer,
  type Authorization,
  type Tokens,
} from "../support/authorization.ts";
import { recordingLog } from "../support/log.ts";
import { PathCookies } from "../support/path-cookies.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

let redis: TestRedis;
let stores: ReturnType<typeof redisStore>[];
/** Two brokers on one Redis. */
let of: Authorization;
let other: Authorization;

beforeAll(async () => {
  redis = await startRedis();
  const key = randomBytes(32);
  stores = [redisStore(redis.url, recordingLog()), redisStore(redis.url, recordingLog())];
  const [one, two] = stores.map((store) => sealed(store, key, recordingLog()));
  if (one === undefined || two === undefined) throw new Error("two stores");
  of = await startAuthorization(one);
  other = await startAuthorization(two);
});
afterAll(async () => {
  await of.close();
  await other.close();
  for (const store of stores) await store.close();
  await redis.stop();
});
beforeEach(() => {
  of.person = jane();
  of.reused.length = 0;
  other.reused.length = 0;
});

async function expectDead({ access, refresh: refreshToken }: Tokens): Promise<void> {
  expect(await of.server.grantOf(access)).toBeUndefined();
  expect(await refresh(of, refreshToken)).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
}

/** How often the reuse was reported, by either broker. */
function reports(): number {
  return of.reused.length + other.reused.length;
}

describe("where the answer goes (RFC 8252, 7.3 and 8.3)", () => {
  it.each([
    "https://evil.example/callback",
    "http://127.0.0.1.evil.example/callback",
    "http://127.0.0.1.evil.example:53682/callback",
    "http://127.0.0.1@evil.example/callback",
    "http://127.0.0.1:80@evil.example/callback",
    "http://evil.example@127.0.0.1/callback",
    "http://evil.example#@127.0.0.1/callback",
    "http://evil.example\\@127.0.0.1/callback",
    "http://127.0.0.1:53682/callback/../evil",
    "http://127.0.0.1:53682/callback?next=https://evil.example",
    "http://127.0.0.1:53682/callback#fragment",
    "http://127.0.0.1:53682/other",
    "http://127.0.0.1:53682",
    "https://127.0.0.1:53682/callback",
    "http://localhost:53682/callback",
    "http://0.0.0.0:53682/callback",
    "http://127.0.0.2:53682/callback",
    "http://2130706433:53682/callback",
    "http://[::]:53682/callback",
    "http://[::ffff:127.0.0.1]:53682/callback",
    "rolecall://callback",
    "javascript:alert(1)",
    "//127.0.0.1/callback",
    "",
  ])("refuses %j, and sends the browser nowhere", async (redirectUri) => {
    const browser = new PathCookies(of.url);
    const answer = await open(of, browser, loginRequest({ redirect_uri: redirectUri }));
    expect(answer.status).toBe(400);
    expect(answer.headers.get("location")).toBeNull();
    expect(browser.names()).toEqual([]);
  });

  it("refuses a request without any, and one that names two", async () => {
    const browser = new PathCookies(of.url);
    expect((await open(of, browser, loginRequest({ redirect_uri: undefined }))).status).toBe(400);
    const { parameters } = loginRequest();
    const twice = `${new URLSearchParams(parameters).toString()}&redirect_uri=https://evil.example/`;
    const answer = await browser.get(`${of.issuer}/auth?${twice}`);
    expect([answer.status, answer.headers.get("location")]).toEqual([400, null]);
  });

  it("redeems no code for another address than the one it was sent to", async () => {
    const { redeem } = await newCode(of);
    expect((await redeem({ redirect_uri: "http://127.0.0.1:1/callback" })).body["error"]).toBe("invalid_grant");
    expect((await redeem()).status).toBe(200);
  });

  it("follows neither Host nor X-Forwarded-*", async () => {
    const { parameters } = loginRequest();
    const evil = { host: "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-proto": "https" };
    const address = new URL(`${of.issuer}/auth?${new URLSearchParams(parameters).toString()}`);
    const [answer] = (await once(httpRequest(address, { headers: evil }).end(), "response")) as [IncomingMessage];
    answer.resume();
    expect(answer.statusCode).toBe(303);
    expect(answer.headers.location).toMatch(/^\/oauth\/approve\//);
    expect(JSON.stringify(answer.headers)).not.toContain("evil");
  });
});

describe("PKCE (RFC 9700, 2.1.1)", () => {
  const s256 = createHash("sha256").update("v".repeat(43)).digest("base64url");
  it.each<[name: string, over: Record<string, string | undefined>]>([
    ["no challenge", { code_challenge: undefined, code_challenge_method: undefined }],
    ["a method without a challenge", { code_challenge: undefined }],
    ["plain", { code_challenge: "v".repeat(43), code_challenge_method: "plain" }],
    ["a challenge without a method, which means plain", { code_challenge_method: undefined }],
    ["an unknown method", { code_challenge: s256, code_challenge_method: "s256" }],
  ])("refuses a request with %s", async (_name, over) => {
    const back = target(await open(of, new PathCookies(of.url), loginRequest(over)));
    expect([back.searchParams.get("error"), back.searchParams.get("code")]).toEqual(["invalid_request", null]);
  });

  it.each<[name: string, verifier: string | undefined]>([
    ["another verifier", randomBytes(32).toString("base64url")],
    ["no verifier", undefined],
    ["an empty verifier", ""],
  ])("refuses a code that comes with %s", async (_name, verifier) => {
    const { redeem } = await newCode(of);
    expect(await redeem({ code_verifier: verifier })).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
  });
});

describe("a code used twice", () => {
  it("ends the grant, with what the first use gave", async () => {
    const { redeem } = await newCode(of);
    const first = tokensOf(await redeem());
    expect(await of.server.grantOf(first.access)).toBeDefined();
    expect(await redeem()).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
    await expectDead(first);
    expect(of.reused).toEqual([
      { grantId: expect.any(String) as string, clientId: "rolecall-cli", identity: of.person },
    ]);
    await redeem();
    expect(reports()).toBe(1);
  });

  it("ten times at once: one answer, and that is dead", async () => {
    const { redeem } = await newCode(of);
    const answers = await Promise.all(Array.from({ length: 10 }, () => redeem()));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array<number>(9).fill(400)]);
    await expectDead(tokensOf(winnerOf(answers)));
    expect(reports()).toBe(1);
  });
});

describe("a refresh token used twice (RFC 9700, 4.14.2)", () => {
  it("ends the family: the first, its children, their access tokens", async () => {
    const first = await signedIn(of);
    const second = tokensOf(await refresh(of, first.refresh));
    const third = tokensOf(await refresh(of, second.refresh));
    for (const { access } of [first, second, third]) expect(await of.server.grantOf(access)).toBeDefined();
    expect(await refresh(of, first.refresh)).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
    for (const tokens of [first, second, third]) await expectDead(tokens);
    expect(of.reused).toHaveLength(1);
  });

  it("leaves the person's other sign-ins alone", async () => {
    const laptop = await signedIn(of);
    const desktop = await signedIn(of);
    await refresh(of, laptop.refresh);
    await refresh(of, laptop.refresh);
    await expectDead(laptop);
    expect(await of.server.grantOf(desktop.access)).toBeDefined();
    expect((await refresh(of, desktop.refresh)).status).toBe(200);
  });

  it.each([2, 10, 25])("%i at once, at two brokers: one answer, and its children are dead", async (callers) => {
    const tokens = await signedIn(of);
    const answers = await Promise.all(
      Array.from({ length: callers }, (_, i) => refresh(i % 2 === 0 ? of : other, tokens.refresh)),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array<number>(callers - 1).fill(400)]);
    await expectDead(tokens);
    await expectDead(tokensOf(winnerOf(answers)));
    expect(reports()).toBe(1);
    expect([...of.reused, ...other.reused][0]?.identity).toEqual(of.person);
  });

  it("is refused also where the record of it can't be written", async () => {
    const store = sealed(stores[0] as (typeof stores)[0], randomBytes(32), recordingLog());
    const deaf = await startAuthorization(store, { onGrantReused: () => Promise.reject(new Error("no ledger")) });
    try {
      const tokens = await signedIn(deaf);
      await refresh(deaf, tokens.refresh);
      expect((await refresh(deaf, tokens.refresh)).status).toBe(400);
      expect(await deaf.server.grantOf(tokens.access)).toBeUndefined();
      expect(deaf.log.lines.map(({ message }) => message)).toContain("the end of a reused grant could not be recorded");
    } finally {
      await deaf.close();
    }
  });
});

describe("revocation (RFC 7009)", () => {
  it.each<[name: string, which: (tokens: Tokens, old: Tokens) => string]>([
    ["the refresh token", (tokens) => tokens.refresh],
    ["the access token", (tokens) => tokens.access],
    ["a refresh token that was used already", (_tokens, old) => old.refresh],
  ])("by %s ends the whole grant, and is no reuse", async (_name, which) => {
    const old = await signedIn(of);
    const tokens = tokensOf(await refresh(of, old.refresh));
    expect((await token(of, { token: which(tokens, old) }, "token/revocation")).status).toBe(200);
    await expectDead(tokens);
    await expectDead(old);
    expect(reports()).toBe(0);
  });

  it("says nothing of a token that is not there", async () => {
    expect((await token(of, { token: "unknown" }, "token/revocation")).status).toBe(200);
  });
});

describe("tokens", () => {
  it.each<[name: string, make: () => Promise<string>]>([
    ["an unknown token", () => Promise.resolve(randomBytes(32).toString("base64url"))],
    ["an empty one", () => Promise.resolve("")],
    ["a refresh token", async () => (await signedIn(of)).refresh],
    ["a code", async () => (await newCode(of)).code],
    ["one of another scope", async () => tokensOf(await (await newCode(of, { scope: "openid" })).redeem()).access],
  ])("%s gives access to nothing", async (_name, make) => {
    expect(await of.server.grantOf(await make())).toBeUndefined();
  });

  it.each<[name: string, fields: Record<string, string>, error: string]>([
    ["another client", { client_id: "evil", grant_type: "refresh_token" }, "invalid_client"],
    ["client_credentials", { grant_type: "client_credentials" }, "unsupported_grant_type"],
    ["password", { grant_type: "password", username: "jane", password: "x" }, "unsupported_grant_type"],
    ["implicit", { grant_type: "implicit" }, "unsupported_grant_type"],
  ])("are not given to %s", async (_name, fields, error) => {
    const answer = await token(of, fields);
    expect(answer.status).toBe(error === "invalid_client" ? 401 : 400);
    expect(answer.body["error"]).toBe(error);
  });

  it.each(["token", "id_token", "code id_token", "code token", "none"])(
    "are not sent through the browser: response_type %s",
    async (responseType) => {
      const request = loginRequest({ response_type: responseType, nonce: "n" });
      const back = target(await open(of, new PathCookies(of.url), request));
      expect(back.href).toContain("unsupported_response_type");
    },
  );
});

describe("the surface", () => {
  it("publishes what it can and no more", async () => {
    const answer = await fetch(`${of.issuer}/.well-known/openid-configuration`);
    const document = (await answer.json()) as Record<string, unknown>;
    const endpoints = Object.keys(document).filter((key) => key.endsWith("_endpoint") || key.endsWith("_uri"));
    expect(endpoints.sort()).toEqual(["authorization_endpoint", "jwks_uri", "revocation_endpoint", "token_endpoint"]);
    expect(document).toMatchObject({
      issuer: of.issuer,
      token_endpoint: `${of.issuer}/token`,
      code_challenge_methods_supported: ["S256"],
      response_types_supported: ["code"],
      grant_types_supported: ["authorization_code", "refresh_token"],
      token_endpoint_auth_methods_supported: ["none"],
      id_token_signing_alg_values_supported: ["ES256"],
      authorization_response_iss_parameter_supported: true,
    });
    const { keys } = (await (await fetch(`${of.issuer}/jwks`)).json()) as { keys: Record<string, unknown>[] };
    expect(keys.map((key) => Object.keys(key).sort())).toEqual([["alg", "crv", "kid", "kty", "use", "x", "y"]]);
  });

  it.each(["me", "reg", "device/auth", "request", "token/introspection", "session/end", "interaction/x"])(
    "has nothing at %s",
    async (path) => {
      expect((await fetch(`${of.issuer}/${path}`)).status).toBe(404);
      const posted = await fetch(`${of.issuer}/${path}`, { method: "POST", body: new URLSearchParams() });
      expect(posted.status).toBe(404);
    },
  );

  it("answers no page of another origin", async () => {
    const { refresh: refreshToken } = await signedIn(of);
    const body = new URLSearchParams({
      client_id: "rolecall-cli",
      grant_type: "refresh_token",
      refresh_token: refreshToken,
    });
    const headers = { origin: "https://evil.example" };
    const answer = await fetch(`${of.issuer}/token`, { method: "POST", body, headers });
    expect(answer.headers.get("access-control-allow-origin")).toBeNull();
    expect(answer.headers.get("cache-control")).toContain("no-store");
  });

  it("shows what was sent as inert text", async () => {
    const answer = await open(of, new PathCookies(of.url), loginRequest({ client_id: "<script>alert(1)</script>" }));
    expect(answer.status).toBe(400);
    expect(answer.headers.get("content-type")).toMatch(/^text\/plain/);
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
  });
});

describe("a request that can't be answered", () => {
  it.each<[name: string, address: string, code: string]>([
    ["is none", "auth", "authorization_invalid"],
    ["has ended", `auth/${"x".repeat(43)}`, "approval_unknown"],
  ])("and %s is shown on the page of the broker's own", async (_name, address, code) => {
    const paged = await startAuthorization(memoryStore(), {
      errorPage: (refusal, req) => `<h1>${refusal.code} at ${String(req.url)}</h1>`,
    });
    try {
      const answer = await new PathCookies(paged.url).get(`${paged.issuer}/${address}`);
      expect([answer.status, await answer.text()]).toEqual([400, `<h1>${code} at /${address}</h1>`]);
      expect(answer.headers.get("content-type")).toMatch(/^text\/html/);
    } finally {
      await paged.close();
    }
  });

  it("grants nothing where no scope is asked for", async () => {
    const back = await approve(of, loginRequest({ scope: undefined }));
    expect([back.searchParams.get("error"), back.searchParams.get("code")]).toEqual(["access_denied", null]);
  });
});

describe("Redis in other hands (threats 24 and 28)", () => {
  it("holds no token, code, verifier, session or name in the clear, in no key and no value; the log neither", async () => {
    const request = loginRequest();
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, request));
    const resume = target(await browser.post(page.href, { decision: "approve" }));
    const code = target(await browser.get(resume.href)).searchParams.get("code") ?? "";
    const pending = target(await open(of, browser, loginRequest()));
    const first = await token(of, {
      grant_type: "authorization_code",
      code,
      redirect_uri: request.parameters["redirect_uri"],
      code_verifier: request.verifier,
    });
    const second = await refresh(of, tokensOf(first).refresh);
    const { identity, grantId } = (await of.server.grantOf(tokensOf(second).access)) ?? {};
    const secrets = {
      code,
      verifier: request.verifier,
      answered: page.pathname.split("/").at(-1),
      pending: pending.pathname.split("/").at(-1),
      ...Object.fromEntries(Object.entries(tokensOf(first)).map(([name, value]) => [`first ${name}`, value])),
      ...Object.fromEntries(Object.entries(tokensOf(second)).map(([name, value]) => [`second ${name}`, value])),
      "ID token": first.body["id_token"],
      email: identity?.email,
      subject: identity?.subject,
      grant: grantId,
    };
    const dump = await redis.dump();
    expect(dump.size).toBeGreaterThan(8);
    const stolen = [...dump].flat().join("\n");
    const decoded = [...dump.values()]
      .map((value) => Buffer.from(value.slice(3), "base64url").toString("latin1"))
      .join();
    const logged = JSON.stringify([...of.log.lines, ...other.log.lines]);
    for (const [name, secret] of Object.entries(secrets)) {
      expect(String(secret).length, name).toBeGreaterThan(6);
      expect(stolen.includes(String(secret)), `${name} in Redis`).toBe(false);
      expect(decoded.includes(String(secret)), `${name} in Redis, decoded`).toBe(false);
      expect(logged.includes(String(secret)), `${name} in the log`).toBe(false);
    }
  });

  it("nobody becomes somebody else by values moved between keys", async () => {
    const mine = await signedIn(of);
    of.person = jane({ subject: "00u-boss", email: "boss@acme.example" });
    const theirs = await signedIn(of);
    const client = new Redis(redis.port);
    const subjects = await client.keys("rolecall:oauth:{*}:subject");
    const values = await Promise.all(subjects.map((key) => client.get(key)));
    for (const [i, key] of subjects.entries()) await client.set(key, values.at(i - 1) ?? "", "KEEPTTL");
    client.disconnect();
    expect(await of.server.grantOf(mine.access)).toBeUndefined();
    expect(await of.server.grantOf(theirs.access)).toBeUndefined();
  });
});

describe("Redis away (threat 20)", () => {
  it("refuses with a status that says when to come back, and goes on by itself", { timeout: 60_000 }, async () => {
    const tokens = await signedIn(of);
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, loginRequest()));
    redis.pause();
    try {
      const refused = await refresh(of, tokens.refresh);
      expect(refused).toMatchObject({ status: 503, body: { error: "temporarily_unavailable" } });
      expect(refused.headers.get("retry-after")).toBe("5");
      await expect(of.server.grantOf(tokens.access)).rejects.toMatchObject({ code: "store_unavailable" });
      const opened = await open(of, browser, loginRequest());
      expect([opened.status, opened.headers.get("location")]).toEqual([503, null]);
      const approved = await browser.post(page.href, { decision: "approve" });
      expect([approved.status, await approved.json()]).toEqual([503, { code: "store_unavailable" }]);
    } finally {
      redis.resume();
    }
    await expect
      .poll(
        () =>
          stores[0]?.ping().then(
            () => "pong",
            () => undefined,
          ),
        { timeout: 10_000 },
      )
      .toBe("pong");
    expect((await of.server.grantOf(tokens.access))?.identity).toEqual(of.person);
    const back = await approve(of);
    expect(back.searchParams.get("code")).toBeTruthy();
    // Frozen before the token was looked up, so it was not used up.
    expect((await refresh(of, tokens.refresh)).status).toBe(200);
  });
});

function winnerOf(answers: readonly Answer[]): Answer {
  const winner = answers.find(({ status }) => status === 200);
  if (winner === undefined) throw new Error("nobody won");
  return winner;
}
