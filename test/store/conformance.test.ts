import { randomBytes, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KeyValueStore } from "../../src/flow/ports.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { redisStore } from "../../src/store/redis.ts";
import { sealed } from "../../src/store/sealed.ts";
import { recordingLog } from "../support/log.ts";
import { startCluster, startSentinels } from "../support/redis-groups.ts";
import { startRedis } from "../support/redis.ts";

type Form = "one server" | "Sentinel" | "Cluster";
type Store = ReturnType<typeof redisStore>;

/** Two stores on each form of Redis, as two broker processes have them. */
const pairs = new Map<Form, [Store, Store]>();
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  const [redis, sentinels, cluster] = await Promise.all([startRedis(), startSentinels(1), startCluster()]);
  for (const group of [redis, sentinels, cluster]) stops.push(() => group.stop());
  const urls: [Form, string][] = [
    ["one server", redis.url],
    ["Sentinel", sentinels.url(1)],
    ["Cluster", cluster.url()],
  ];
  for (const [form, url] of urls) pairs.set(form, [redisStore(url, recordingLog()), redisStore(url, recordingLog())]);
});
afterAll(async () => {
  await Promise.all([...pairs.values()].flat().map((store) => store.close()));
  await Promise.all(stops.map((stop) => stop()));
});

function pair(form: Form): [Store, Store] {
  const found = pairs.get(form);
  if (!found) throw new Error(`no store on ${form}`);
  return found;
}

/** Two views of one store, as two broker processes have them. */
const stores: [name: string, make: () => [KeyValueStore, KeyValueStore]][] = [
  [
    "memory",
    () => {
      const store = memoryStore();
      return [store, store];
    },
  ],
  ["redis", () => pair("one server")],
  ["redis by Sentinel, each write on a replica", () => pair("Sentinel")],
  ["redis as a Cluster", () => pair("Cluster")],
  [
    "sealed redis",
    () => {
      const key = randomBytes(32);
      const [first, second] = pair("one server");
      return [sealed(first, key, recordingLog()), sealed(second, key, recordingLog())];
    },
  ],
];

// Beside each other, since some wait for seconds to pass.
describe.concurrent.each(stores)("%s", (_name, make) => {
  it("gives back what was set, to every process", async () => {
    const [here, there] = make();
    const key = randomUUID();
    const text = 'ärger "\u{1F511}"\n\u0000end';
    await here.set(key, text, 60);
    expect(await there.get(key)).toBe(text);
    await there.set(key, "", 60);
    expect(await here.get(key)).toBe("");
  });

  it("knows nothing of a key that was never set or was deleted", async () => {
    const [here, there] = make();
    const key = randomUUID();
    expect(await here.get(key)).toBeUndefined();
    expect(await here.take(key)).toBeUndefined();
    await here.set(key, "value", 60);
    await there.delete(key);
    await there.delete(key);
    expect(await here.get(key)).toBeUndefined();
  });

  it("gives back several values in the order of their keys", async () => {
    const [here, there] = make();
    const tag = `{${randomUUID()}}`;
    await here.set(`${tag}:a`, "first", 60);
    await here.set(`${tag}:b`, "second", 60);
    expect(await there.getAll([`${tag}:b`, `${tag}:absent`, `${tag}:a`])).toEqual(["second", undefined, "first"]);
  });

  it("forgets a value when its time is over", async () => {
    const [here] = make();
    const [brief, long] = [randomUUID(), randomUUID()];
    await here.set(brief, "value", 1);
    await here.add(`${brief}-added`, "value", 1);
    await here.set(long, "value", 60);
    await expect.poll(() => here.get(brief), { timeout: 5000 }).toBeUndefined();
    await expect.poll(() => here.get(`${brief}-added`), { timeout: 5000 }).toBeUndefined();
    expect(await here.get(long)).toBe("value");
  });

  it("adds a key for exactly one of fifty callers at once", async () => {
    const [here, there] = make();
    const key = randomUUID();
    const added = await Promise.all(
      Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? here : there).add(key, String(i), 60)),
    );
    expect(added.filter(Boolean)).toHaveLength(1);
    expect(await here.get(key)).toBe(String(added.indexOf(true)));
  });

  it("counts fifty callers at once, each with a number of its own, and begins anew when the time is over", async () => {
    const [here, there] = make();
    const [key, brief] = [randomUUID(), randomUUID()];
    const counts = await Promise.all(Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? here : there).count(key, 60)));
    expect(new Set(counts.map(({ count }) => count))).toEqual(new Set(Array.from({ length: 50 }, (_, i) => i + 1)));
    for (const { secondsLeft } of counts) expect([59, 60]).toContain(secondsLeft);
    expect((await here.count(brief, 1)).count).toBe(1);
    expect((await there.count(brief, 600)).count).toBe(2);
    // Had the second call made it live longer, or every call begun anew, this would never come back to one.
    await expect.poll(async () => (await here.count(brief, 1)).count, { timeout: 5000 }).toBe(1);
  });

  it("gives the value to exactly one of fifty takers at once", async () => {
    const [here, there] = make();
    const key = randomUUID();
    await here.set(key, "value", 60);
    const taken = await Promise.all(Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? here : there).take(key)));
    expect(taken.filter((value) => value !== undefined)).toEqual(["value"]);
  });

  it("sets a value unless its tombstone stands", async () => {
    const [here, there] = make();
    const key = `{${randomUUID()}}`;
    const tombstone = `${key}:ended`;
    expect(await here.setUnless(tombstone, key, "first", 60)).toBe(true);
    expect(await here.setUnless(tombstone, key, "second", 60)).toBe(true);
    await there.add(tombstone, "ended", 60);
    expect(await here.setUnless(tombstone, key, "third", 60)).toBe(false);
    expect(await there.get(key)).toBe("second");
  });

  it("never brings a value back that was ended by somebody else at the same moment", async () => {
    const [here, there] = make();
    for (let round = 0; round < 20; round += 1) {
      const key = `{${randomUUID()}}`;
      const tombstone = `${key}:ended`;
      const writes = Array.from({ length: 10 }, () => here.setUnless(tombstone, key, "value", 60));
      const ended = there.set(tombstone, "ended", 60).then(() => there.delete(key));
      await Promise.all([...writes, ended]);
      expect(await here.get(key)).toBeUndefined();
    }
  });

  it("answers a ping", async () => {
    const [here] = make();
    await expect(here.ping()).resolves.toBeUndefined();
  });
});

describe("memory", () => {
  it("is bounded: a full store refuses new keys, and has room again when values expire", async () => {
    let now = 0;
    const store = memoryStore(() => now, 2);
    await store.set("a", "1", 10);
    await store.set("b", "1", 20);
    await store.set("a", "2", 10);
    await expect(store.set("c", "1", 10)).rejects.toMatchObject({ code: "store_unavailable" });
    await expect(store.add("c", "1", 10)).rejects.toMatchObject({ code: "store_unavailable" });
    now = 10_000;
    await store.set("c", "1", 10);
    expect([await store.get("a"), await store.get("b"), await store.get("c")]).toEqual([undefined, "1", "1"]);
  });
});
