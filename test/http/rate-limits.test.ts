import { randomInt } from "node:crypto";
import supertest from "supertest";
import { afterEach, describe, expect, it } from "vitest";
import { rateLimits, RateLimited, type RateLimitSettings } from "../../src/flow/rate-limit.ts";
import type { AuthorizationServer } from "../../src/http/authorization-server.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { redisStore } from "../../src/store/redis.ts";
import { refresh, signedIn, startAuthorization } from "../support/authorization.ts";
import { productionConfig, taken } from "../support/config-file.ts";
import { CookieJar } from "../support/cookie-jar.ts";
import { recordingLog } from "../support/log.ts";
import { startRedis } from "../support/redis.ts";
import { janeOf, StandInApprovals, startWeb, type Web, type WebChoices } from "../support/web.ts";

const GENEROUS: RateLimitSettings = { perAddress: 1000, perAccount: 1000, signInsUnderWay: 1000 };

const closing: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const part of closing.splice(0)) await part.close();
});

/** Behind one proxy, so that the test can choose where a request comes from. */
async function start(over: Partial<RateLimitSettings>, choices: WebChoices = {}): Promise<Web> {
  const limits = rateLimits(memoryStore(), { ...GENEROUS, ...over }, () => undefined);
  const web = await startWeb({ ...choices, config: { trustProxy: 1 }, parts: { limits, ...choices.parts } });
  closing.push(web);
  return web;
}

const from = (web: Web, address: string) => ({
  get: (path: string) => supertest(web.url).get(path).set("X-Forwarded-For", address).redirects(0),
  post: (path: string) => supertest(web.url).post(path).set("X-Forwarded-For", address).type("form"),
});

describe("an address that asks too often", () => {
  it.each([
    ["begins sign-ins", "get", "/login/okta", 302],
    ["brings answers of providers", "get", "/login/okta/callback?state=rubbish", 400],
    ["begins approvals", "get", "/oauth/auth?client_id=rolecall-cli", 200],
  ] as const)("%s: a page that says when to come back; other addresses go on", async (_what, method, path, status) => {
    const web = await start({ perAddress: 3 });
    for (let i = 0; i < 3; i += 1) expect((await from(web, "203.0.113.7")[method](path)).status).toBe(status);
    const refused = await from(web, "203.0.113.7")[method](path);
    expect(refused.status).toBe(429);
    expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
    expect(Number(refused.headers["retry-after"])).toBeLessThanOrEqual(60);
    expect(refused.text).toContain("rate_limited");
    expect((await from(web, "203.0.113.8")[method](path)).status).toBe(status);
    expect(web.rows).toEqual([]);
    expect(web.logged.at(-1)?.fields).not.toHaveProperty("email");
    expect(web.logged.some(({ fields }) => fields["code"] === "rate_limited")).toBe(true);
  });

  it("guesses tokens: the authorization server's own form of error", async () => {
    const web = await start({ perAddress: 3 });
    const token = () => from(web, "203.0.113.7").post("/oauth/token").send({ grant_type: "refresh_token" });
    for (let i = 0; i < 3; i += 1) expect((await token()).status).toBe(200);
    const refused = await token();
    expect(refused.status).toBe(429);
    expect(refused.body).toEqual({ error: "rate_limited", error_description: expect.any(String) as string });
    expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
    expect((await from(web, "203.0.113.7").post("/oauth/token/revocation")).status).toBe(429);
  });

  it("has a whole network of IPv6, and writes its IPv4 as it likes", async () => {
    const web = await start({ perAddress: 2 });
    const begin = async (address: string) => (await from(web, address).get("/login/okta")).status;
    expect(await begin("2001:db8:1:1200::1")).toBe(302);
    expect(await begin("2001:db8:1:12ff:aaaa::2")).toBe(302);
    expect(await begin("2001:db8:1:1234::3")).toBe(429);
    expect(await begin("2001:db8:1:1300::1")).toBe(302);
    expect(await begin("198.51.100.1")).toBe(302);
    expect(await begin("::ffff:198.51.100.1")).toBe(302);
    expect(await begin("198.51.100.1")).toBe(429);
  });

  it("shows no live token: refused, while a colleague behind the same address goes on", async () => {
    const authorizationServer = grants({ live: janeOf("okta") });
    const web = await start({ perAddress: 3 }, { parts: { authorizationServer } });
    const whoami = (token: string) =>
      from(web, "203.0.113.7").get("/api/v1/whoami").set("Authorization", `Bearer ${token}`);
    for (let i = 0; i < 3; i += 1) expect((await whoami("rubbish")).status).toBe(401);
    const refused = await whoami("rubbish");
    expect([refused.status, refused.type]).toEqual([429, "application/problem+json"]);
    expect(refused.body).toMatchObject({ code: "rate_limited", status: 429 });
    expect((await whoami("live")).status).toBe(200);
    expect(web.rows).toEqual([]);
  });
});

describe("a person who asks too often, from anywhere", () => {
  it("is refused by the API, which records the first refusal alone; others go on", async () => {
    const authorizationServer = grants({ jane: janeOf("okta"), omar: janeOf("okta", { subject: "00u2" }) });
    const web = await start({ perAccount: 3 }, { parts: { authorizationServer } });
    const whoami = (token: string) =>
      from(web, `203.0.113.${randomInt(1, 254)}`)
        .get("/api/v1/whoami")
        .set("Authorization", `Bearer ${token}`);
    for (let i = 0; i < 3; i += 1) expect((await whoami("jane")).status).toBe(200);
    const refused = await Promise.all(Array.from({ length: 20 }, async () => await whoami("jane")));
    expect(new Set(refused.map(({ status }) => status))).toEqual(new Set([429]));
    expect(refused[0]?.body).toMatchObject({ code: "rate_limited" });
    expect(Number(refused[0]?.headers["retry-after"])).toBeGreaterThan(0);
    expect(web.rows).toHaveLength(1);
    expect(web.rows[0]).toMatchObject({
      type: "credentials.denied",
      reason: "rate_limited",
      outcome: "refused",
      subject: "00u1",
      client: "rolecall-cli",
    });
    expect((await whoami("omar")).status).toBe(200);
  });

  it("gets no new session, and the first refusal alone is recorded", async () => {
    const web = await start({ perAccount: 2 });
    const signIn = async () => {
      const jar = new CookieJar(web.url);
      const begun = await jar.get("/login/okta");
      const state = new URL(begun.headers.get("location") ?? "").searchParams.get("state") ?? "";
      const finished = await jar.get(`/login/okta/callback?state=${state}`);
      return { status: finished.status, session: jar.cookies.has("rolecall") };
    };
    for (let i = 0; i < 2; i += 1) expect(await signIn()).toEqual({ status: 303, session: true });
    for (let i = 0; i < 3; i += 1) expect(await signIn()).toEqual({ status: 429, session: false });
    const denied = web.rows.filter(({ type }) => type === "login.denied");
    expect(denied).toHaveLength(1);
    expect(denied[0]).toMatchObject({ reason: "rate_limited", subject: "00u1", provider: "okta" });
  });

  it("gets no new tokens, and keeps the refresh token for later", async () => {
    const limited: unknown[] = [];
    let closed = false;
    const of = await startAuthorization(memoryStore(), {
      limitAccount: () =>
        closed ? Promise.reject(new RateLimited("token_account", 17, limited.length === 0)) : Promise.resolve(),
      onAccountLimited: (grant) => {
        limited.push(grant);
        return Promise.resolve();
      },
    });
    closing.push(of);
    const tokens = await signedIn(of);
    closed = true;
    for (let i = 0; i < 3; i += 1) {
      const refused = await refresh(of, tokens.refresh);
      expect(refused.status).toBe(429);
      expect(refused.body).toMatchObject({ error: "rate_limited" });
      expect(refused.headers.get("retry-after")).toBe("17");
    }
    expect(limited).toMatchObject([{ clientId: "rolecall-cli", identity: of.person }]);
    expect(of.refused).toEqual([]);
    closed = false;
    expect((await refresh(of, tokens.refresh)).status).toBe(200);
    expect(of.reused).toEqual([]);
  });
});

it("brokers of one Redis count together", async () => {
  const redis = await startRedis();
  const stores = [redisStore(redis.url, recordingLog()), redisStore(redis.url, recordingLog())];
  try {
    const asked = stores.flatMap((store) => {
      const broker = rateLimits(store, { ...GENEROUS, perAddress: 10 }, () => undefined);
      return Array.from({ length: 15 }, () => broker.address("sign_in", "203.0.113.7"));
    });
    const ends = await Promise.allSettled(asked);
    const refused = ends.filter((end) => end.status === "rejected").map(({ reason }) => reason as RateLimited);
    expect(refused).toHaveLength(20);
    expect(refused.filter(({ first }) => first)).toHaveLength(1);
    expect([...(await redis.dump()).keys()].join()).not.toContain("203.0.113.7");
    for (const [key, seconds] of await redis.lifetimes()) expect(seconds, key).toBeGreaterThan(0);
  } finally {
    await Promise.all(stores.map((store) => store.close()));
    await redis.stop();
  }
});

describe("who is honest meets no limit", () => {
  it("fifty processes of one person, ten times a minute each, and a company's sign-ins from one address", async () => {
    const { rateLimits: settings } = taken(productionConfig());
    const limits = rateLimits(memoryStore(), settings, () => undefined);
    for (let i = 0; i < 500; i += 1) await limits.account("api", "jane");
    for (let i = 0; i < 2000; i += 1) await limits.address("sign_in", "203.0.113.7");
    for (let i = 0; i < 20_000; i += 1) await limits.signInUnderWay();
  });
});

/** An authorization server whose access tokens are these people's. */
function grants(live: Record<string, ReturnType<typeof janeOf>>): AuthorizationServer {
  const server: AuthorizationServer = new StandInApprovals();
  server.grantOf = (token) => {
    const identity = live[token];
    return Promise.resolve(identity && { grantId: token, clientId: "rolecall-cli", identity, mayIssue: true });
  };
  return server;
}
