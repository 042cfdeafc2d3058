import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { KeyValueStore } from "../../src/flow/ports.ts";
import { redisStore } from "../../src/store/redis.ts";
import { recordingLog } from "../support/log.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

let redis: TestRedis;
let store: ReturnType<typeof redisStore>;
let log: ReturnType<typeof recordingLog>;

beforeEach(async () => {
  redis = await startRedis();
  log = recordingLog();
  store = redisStore(redis.url, log);
  await store.ping();
});
afterEach(async () => {
  await store.close();
  redis.resume();
  await redis.stop();
});

const calls: [name: string, call: (store: KeyValueStore) => Promise<unknown>][] = [
  ["get", (s) => s.get("key")],
  ["set", (s) => s.set("key", "value", 60)],
  ["add", (s) => s.add("key", "value", 60)],
  ["setUnless", (s) => s.setUnless("{key}:ended", "{key}", "value", 60)],
  ["take", (s) => s.take("key")],
  ["delete", (s) => s.delete("key")],
  ["ping", (s) => s.ping()],
];

/** What became of every call of the store at once. The test's own time limit is far above the two seconds promised. */
async function refusals(): Promise<unknown[]> {
  const results = await Promise.allSettled(calls.map(([, call]) => call(store)));
  return results.map((result) => (result.status === "rejected" ? (result.reason as { code?: unknown }).code : "done"));
}
const allRefused = calls.map(() => "store_unavailable");
const BOUNDED = { timeout: 10_000 };

describe("redis", () => {
  it("stopped: every call is refused in bounded time; started again: calls succeed", BOUNDED, async () => {
    await redis.stop();
    expect(await refusals()).toEqual(allRefused);
    await redis.start();
    await expect
      .poll(
        () =>
          store.set("key", "value", 60).then(
            () => store.get("key"),
            () => undefined,
          ),
        { timeout: 5000 },
      )
      .toBe("value");
    expect(log.lines.map((line) => line.message)).toEqual(["redis can't be reached", "redis can be reached again"]);
  });

  it("stopped: closing waits for no connection that will never be", BOUNDED, async () => {
    await redis.stop();
    await expect.poll(() => log.lines.map((line) => line.message)).toContain("redis can't be reached");
    await store.close();
  });

  it("frozen: every call is refused in bounded time; thawed: calls succeed", BOUNDED, async () => {
    redis.pause();
    expect(await refusals()).toEqual(allRefused);
    expect(await refusals()).toEqual(allRefused);
    redis.resume();
    await expect.poll(() => store.add("fresh", "value", 60).catch(() => undefined), { timeout: 5000 }).toBeDefined();
    expect(await store.get("fresh")).toBe("value");
  });

  it("frozen for longer than a connection is kept: calls succeed after a new one", async () => {
    redis.pause();
    const seen = new Set<unknown>();
    await expect
      .poll(
        async () => {
          for (const code of await refusals()) seen.add(code);
          return log.lines.length;
        },
        { timeout: 15_000 },
      )
      .toBeGreaterThan(0);
    expect([...seen]).toEqual(["store_unavailable"]);
    redis.resume();
    await expect
      .poll(
        () =>
          store.ping().then(
            () => "pong",
            () => undefined,
          ),
        { timeout: 5000 },
      )
      .toBe("pong");
  });

  it("killed with calls under way: each is answered or refused, none hangs, and none is sent twice", async () => {
    redis.pause();
    const under = Promise.allSettled(calls.map(([, call]) => call(store)));
    await redis.stop();
    await redis.start();
    const results = await under;
    expect(results).toHaveLength(calls.length);
    await expect
      .poll(
        () =>
          store.ping().then(
            () => "pong",
            () => undefined,
          ),
        { timeout: 5000 },
      )
      .toBe("pong");
    // The new server is empty: a call that had been sent again would show here.
    expect(await store.get("key")).toBeUndefined();
    expect(await store.get("{key}")).toBeUndefined();
  });

  it("not there at the start: refused, then used as soon as it is there", async () => {
    await redis.stop();
    const late = redisStore(redis.url, log);
    await expect(late.get("key")).rejects.toMatchObject({ code: "store_unavailable" });
    await redis.start();
    await expect.poll(() => late.add("key", "value", 60).catch(() => undefined), { timeout: 5000 }).toBe(true);
    await late.close();
  });

  it.each(calls)("closed: %s is refused", async (_name, call) => {
    await store.close();
    await store.close();
    await expect(call(store)).rejects.toMatchObject({ code: "store_unavailable" });
  });

  it("gives nothing of a command away in its refusal", async () => {
    redis.pause();
    const error: unknown = await store.set("key", "secret value", 60).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "store_unavailable" });
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain("secret");
  });

  it("keeps every key under its own prefix", async () => {
    await store.set("key", "value", 60);
    await store.setUnless("{a}:ended", "{a}", "value", 60);
    expect([...(await redis.dump()).keys()].sort()).toEqual(["rolecall:key", "rolecall:{a}"]);
  });
});
