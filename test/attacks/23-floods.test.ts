import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CookieJar } from "../support/cookie-jar.ts";
import { loginRequest } from "../support/authorization.ts";
import { samlAnswer, samlIdps, signInBySaml, type SamlIdps } from "./support/saml.ts";
import { accessToken, codeFor, credentials, JANE, claimsOf, redeem, refresh, signIn } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 23: sign-ins that never finish can't fill Redis; login, token and API are limited by address and by account. */

/** Small, so that a flood is over soon; what the defaults hold is worked out below. */
const LIMITS = { perAddress: 60, perAccount: 12, signInsUnderWay: 150 };
/** What nobody sets: docs/configuration.md. */
const DEFAULT_SIGN_INS = 100_000;

let target: Target;
let saml: SamlIdps;
let redis: Redis;
let addresses = 0;
beforeAll(async () => {
  // One proxy in front, so that the test chooses where a request comes from.
  saml = await samlIdps({ trustProxy: 1, rateLimits: LIMITS });
  target = await startTarget(saml.options);
  redis = new Redis(target.redis.port);
});
afterAll(async () => {
  redis.disconnect();
  await target.close();
});

/** An address that has not been seen yet. */
const elsewhere = (): string => `198.51.${(addresses += 1) >> 8}.${addresses & 255}`;

function from(address: string, path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { ...(init.headers as Record<string, string>), "x-forwarded-for": address };
  return fetch(target.url + path, { redirect: "manual", ...init, headers });
}

/** How many of `times` requests were not refused as too many. */
async function served(times: number, request: () => Promise<{ status: number }>): Promise<number> {
  let answered = 0;
  for (let i = 0; i < times; i += 1) if ((await request()).status !== 429) answered += 1;
  return answered;
}

const formTo = (path: string, fields: Record<string, string>) => (address: string) =>
  from(address, path, { method: "POST", body: new URLSearchParams(fields) });

test.for<[string, (address: string) => Promise<Response>]>([
  ["answers of providers that nobody asked for", (it) => from(it, "/login/okta/callback?state=x&code=y")],
  [
    "guessed refresh tokens",
    formTo("/oauth/token", { client_id: "rolecall-cli", grant_type: "refresh_token", refresh_token: "x" }),
  ],
  ["SAML responses that nobody asked for", formTo("/login/okta-saml/acs", { SAMLResponse: "PHg+", RelayState: "x" })],
  ["LogoutRequests that nobody signed", formTo("/login/okta-saml/slo", { SAMLRequest: "PHg+" })],
  ["guessed codes to revoke", formTo("/oauth/token/revocation", { client_id: "rolecall-cli", token: "x" })],
  ["guessed access tokens", (it) => from(it, "/api/v1/whoami", { headers: { authorization: "Bearer x" } })],
])("%s: an address is told to wait, another one is not, and no row is written", async ([, request]) => {
  const flooder = elsewhere();
  const counted = await target.counted("rate_limited");
  const { answer, rows } = await target.recorded(() => served(LIMITS.perAddress + 20, () => request(flooder)));
  expect(answer).toBe(LIMITS.perAddress);
  expect(rows).toEqual([]);
  expect(await target.counted("rate_limited")).toBe(counted + 20);
  const refused = await request(flooder);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  expect((await request(elsewhere())).status).not.toBe(429);
  await redis.flushall();
});

test("the address is the proxy's word, not the caller's: no header makes a new one", async () => {
  const flooder = elsewhere();
  let made = 0;
  const answered = await served(LIMITS.perAddress + 20, () =>
    from(`203.0.113.${(made += 1)}, ${flooder}`, "/login/okta/callback"),
  );
  expect(answered).toBe(LIMITS.perAddress);
  await redis.flushall();
});

test("one person, from everywhere: refused in one row, while a colleague goes on", async () => {
  const access = await accessToken(target, "okta", JANE);
  const ask = (token: string): Promise<Response> =>
    from(elsewhere(), "/api/v1/whoami", { headers: { authorization: `Bearer ${token}` } });
  const { answer, rows } = await target.recorded(() => served(LIMITS.perAccount + 20, () => ask(access)));
  expect(answer).toBe(LIMITS.perAccount);
  expect(rows).toMatchObject([{ type: "credentials.denied", reason: "rate_limited", email: "jane@acme.example" }]);
  const omars = await accessToken(target, "okta", claimsOf("okta", "Omar"));
  expect((await credentials(target, omars)).status).toBe(200);
  await redis.flushall();
});

test("one person's sign-ins and refreshes: refused in one row each, and the refresh token stays good", async () => {
  const { answer, rows } = await target.recorded(() =>
    served(LIMITS.perAccount + 5, async () => (await signIn(target, "okta", JANE)).answer),
  );
  expect(answer).toBe(LIMITS.perAccount);
  expect(rows.filter(({ outcome }) => outcome === "refused")).toMatchObject([
    { type: "login.denied", reason: "rate_limited", email: "jane@acme.example" },
  ]);
  await redis.flushall();

  let { body } = await redeem(target, await codeFor(target, "okta", JANE));
  const refreshed = await target.recorded(() =>
    served(LIMITS.perAccount + 5, async () => {
      const next = await refresh(target, body["refresh_token"]);
      if (next.status === 200) body = next.body;
      return next;
    }),
  );
  expect(refreshed.answer).toBeLessThanOrEqual(LIMITS.perAccount);
  expect(refreshed.rows).toMatchObject([{ type: "credentials.denied", reason: "rate_limited" }]);
  // The minute is over.
  for (const key of await redis.keys("rolecall:limit:*")) await redis.del(key);
  expect((await refresh(target, body["refresh_token"])).status).toBe(200);
  await redis.flushall();
});

test("one person's sign-ins by SAML: refused in one row, and what is kept of them ends", async () => {
  const { answer, rows } = await target.recorded(() =>
    served(LIMITS.perAccount + 5, async () => {
      const jar = new CookieJar(target.url, { "x-forwarded-for": elsewhere() });
      return (await signInBySaml(target, saml, "okta", JANE, { jar })).answer;
    }),
  );
  expect(answer).toBe(LIMITS.perAccount);
  expect(rows.filter(({ outcome }) => outcome === "refused")).toMatchObject([
    { type: "login.denied", reason: "rate_limited", email: "jane@acme.example" },
  ]);
  for (const [key, seconds] of await target.redis.lifetimes()) expect(seconds, key).toBeGreaterThan(0);
  await redis.flushall();
});

test("answers that are no answer to a sign-in, posted in its name: nothing more is kept, and it can still finish", async () => {
  const jar = new CookieJar(target.url, { "x-forwarded-for": elsewhere() });
  const { browser, begun, xml } = await samlAnswer(target, saml, "okta", JANE, { jar });
  const keptOf = async (): Promise<string[]> =>
    [...(await target.redis.dump()).keys()].filter((key) => !key.startsWith("rolecall:limit:")).toSorted();
  const before = await keptOf();
  for (const junk of ["<x/>", "x".repeat(50_000), xml.replace("jane@", "omar@"), xml.slice(0, -1)]) {
    expect((await browser.post(begun, junk)).status).toBe(400);
  }
  expect(await keptOf()).toEqual(before);
  expect((await browser.post(begun, xml)).status).toBe(303);
  await redis.flushall();
});

test("sign-ins and approvals that never finish: bounded together, each small and soon gone, from however many addresses", async () => {
  const bytes = async (): Promise<number> => Number(/used_memory:(\d+)/.exec(await redis.info("memory"))?.[1]);
  const before = await bytes();
  // As much as a stranger can have kept.
  const longest = (state: number): string =>
    `/oauth/auth?${new URLSearchParams(loginRequest({ state: "s".repeat(state) }).parameters).toString()}`;
  const { answer, rows } = await target.recorded(() =>
    served(LIMITS.signInsUnderWay + 40, () => {
      const begun = `?next=/${"n".repeat(511)}`;
      const sent = [`/login/okta${begun}`, `/login/okta-saml${begun}`, longest(1600)][addresses % 3] ?? "";
      return from(elsewhere(), sent);
    }),
  );
  expect(answer).toBe(LIMITS.signInsUnderWay);
  expect(rows).toEqual([]);
  const kept = [...(await target.redis.dump())].filter(([key]) => !key.startsWith("rolecall:limit:"));
  expect(kept).toHaveLength(LIMITS.signInsUnderWay);
  for (const [key, seconds] of await target.redis.lifetimes()) {
    expect(seconds, key).toBeGreaterThan(0);
    expect(seconds, key).toBeLessThanOrEqual(600);
  }
  for (const [key, value] of kept) expect(value.length, key).toBeLessThan(4096);
  // With the limits that the broker has by itself, everybody's flood together stays below half a gigabyte.
  const each = ((await bytes()) - before) / (LIMITS.signInsUnderWay + addresses);
  expect(each * DEFAULT_SIGN_INS).toBeLessThan(512 * 1024 * 1024);
  await redis.flushall();
  expect((await from(elsewhere(), longest(1600))).status).toBe(303);
  const tooLong = await target.recorded(() => from(elsewhere(), longest(14_000)));
  expect([tooLong.answer.status, tooLong.rows]).toEqual([400, []]);
  expect((await redis.keys("rolecall:oauth:interaction:*")).length).toBe(1);
});

test("who signs in meanwhile, once, gets in", async () => {
  expect((await signIn(target, "okta", JANE)).answer.status).toBe(303);
});
