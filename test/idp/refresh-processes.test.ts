import { randomBytes } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { Refusal } from "../../src/flow/errors.ts";
import type { Identity } from "../../src/flow/identity.ts";
import { redisStore } from "../../src/store/redis.ts";
import { sealed } from "../../src/store/sealed.ts";
import { startHostileIdp, type HostileIdp } from "../support/hostile-idp.ts";
import { recordingLog } from "../support/log.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { GRANT, MAX_AGE, refreshing, shown, staleJane, type Refreshing } from "../support/refreshing.ts";

const KEY = randomBytes(32);
let redis: TestRedis;
let stores: ReturnType<typeof redisStore>[];
let idp: HostileIdp;
let processes: [Refreshing, Refreshing];
let jane: Identity;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
beforeEach(async () => {
  idp = await startHostileIdp();
  stores = [redisStore(redis.url, recordingLog()), redisStore(redis.url, recordingLog())];
  const [one, two] = stores.map((store) => refreshing(idp, sealed(store, KEY, recordingLog()), { now: Date.now })) as [
    Refreshing,
    Refreshing,
  ];
  processes = [one, two];
  jane = await one.grants.hold(staleJane(idp, Date.now()), GRANT);
});
afterEach(() => Promise.all([idp.close(), ...stores.map((store) => store.close())]));

/** 20 requests at once, half at each process. */
function twenty(): Promise<PromiseSettledResult<Identity>[]> {
  const notBefore = Date.now() - MAX_AGE;
  return Promise.allSettled(
    processes.flatMap(({ refresh }) => Array.from({ length: 10 }, () => refresh(jane, notBefore))),
  );
}

test("two processes with stale claims: one question, one answer", async () => {
  idp.behavior.tokens = (tokens) => ({ ...tokens, refresh_token: "refresh-token-1" });
  idp.behavior.claims = (claims) => ({ ...claims, team: "ml" });
  const said = await twenty();
  expect(said.map((one) => one.status === "fulfilled" && one.value.claims["team"])).toEqual(Array(20).fill("ml"));
  expect(shown(idp)).toEqual([GRANT.refreshToken]);
});

test("the provider has ended the sign-in: one question, one record, everybody refused", async () => {
  idp.behavior.respond = (path, res) =>
    path === "/token" &&
    Boolean(res.writeHead(400, { "content-type": "application/json" }).end('{"error":"invalid_grant"}'));
  const codes = (await twenty()).map((one) => one.status === "rejected" && (one.reason as Refusal).code);
  expect(codes).toEqual(Array(20).fill("sign_in_revoked"));
  expect(shown(idp)).toHaveLength(1);
  expect(processes.flatMap(({ revoked }) => revoked)).toEqual([jane]);
});

test("what is held is unreadable, names nobody, and ends with the sign-in", async () => {
  await twenty();
  const all = JSON.stringify([...(await redis.dump())]);
  for (const secret of [GRANT.refreshToken, GRANT.nonce, jane.subject, jane.email]) expect(all).not.toContain(secret);
  const held = [...(await redis.lifetimes())].filter(([key]) => key.includes(jane.refreshId ?? "none"));
  expect(held.map(([key]) => key)).toEqual([`rolecall:refresh:{${jane.refreshId ?? ""}}`]);
  for (const [, seconds] of held) {
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(11 * 3600);
  }
});
