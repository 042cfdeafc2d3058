import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { redisStore } from "../../src/store/redis.ts";
import { recordingLog } from "../support/log.ts";
import { expectEventually, startCluster, type ClusterGroup } from "../support/redis-groups.ts";

let cluster: ClusterGroup;
let store: ReturnType<typeof redisStore>;
const log = recordingLog();

beforeAll(async () => {
  cluster = await startCluster();
  store = redisStore(cluster.url(), log);
  await store.ping();
});
afterAll(async () => {
  await store.close();
  await cluster.stop();
});

/** Where it lies, as the server names it. */
async function placeOf(key: string) {
  const from = await cluster.primaryOf(`rolecall:${key}`);
  const to = cluster.primaries.find((port) => port !== from) ?? 0;
  const slot = String(await cluster.ask(from, "cluster", "keyslot", `rolecall:${key}`));
  const [fromId, toId] = [from, to].map((port) => cluster.ask(port, "cluster", "myid"));
  return { from, to, slot, fromId: String(await fromId), toId: String(await toId) };
}

describe("slots move from one server to another while the store is used", () => {
  it("each key is found where it is, and each command carried out once", async () => {
    const { from, to, slot, fromId, toId } = await placeOf("{grant}:subject");
    await store.set("{grant}:subject", "Jane", 600);
    await store.count("{grant}:count", 600);
    await cluster.ask(to, "cluster", "setslot", slot, "importing", fromId);
    await cluster.ask(from, "cluster", "setslot", slot, "migrating", toId);

    // Not moved yet: still there. Not there: made where the slot goes to (ASK).
    expect(await store.get("{grant}:subject")).toBe("Jane");
    expect(await store.add("{grant}:code:used", "used", 600)).toBe(true);
    expect(await store.add("{grant}:code:used", "used", 600)).toBe(false);
    expect(await store.take("{grant}:nothing")).toBeUndefined();
    expect(await cluster.ask(from, "cluster", "countkeysinslot", slot)).toBe(2);
    expect(await cluster.ask(to, "cluster", "countkeysinslot", slot)).toBe(1);
    // Two keys, one here and one there: nobody could do it in one step (TRYAGAIN).
    await expect(store.setUnless("{grant}:ended", "{grant}:subject", "Joe", 600)).rejects.toMatchObject({
      code: "store_unavailable",
    });

    const keys = ["rolecall:{grant}:subject", "rolecall:{grant}:count"];
    await cluster.ask(from, "migrate", "127.0.0.1", String(to), "", "0", "5000", "keys", ...keys);
    expect(await store.get("{grant}:subject")).toBe("Jane");
    for (const port of cluster.primaries) await cluster.ask(port, "cluster", "setslot", slot, "node", toId);

    // The store has not been told (MOVED): of ten at once none fails, and each counts once.
    const counts = await Promise.all(Array.from({ length: 10 }, () => store.count("{grant}:count", 600)));
    expect(counts.map(({ count }) => count).sort((a, b) => a - b)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(await store.setUnless("{grant}:ended", "{grant}:subject", "Joe", 600)).toBe(true);
    expect(await cluster.ask(to, "get", "rolecall:{grant}:subject")).toBe("Joe");
    expect(log.lines).toEqual([]);
  });
});

describe("a server answers nothing when a store begins", () => {
  it("what was refused meanwhile is never carried out", async () => {
    const frozen = await cluster.primaryOf("rolecall:{jane}");
    cluster.pause(frozen);
    const late = redisStore(cluster.url(), recordingLog());
    const calls = [late.set("{jane}", "value", 600), late.add("{jane}:used", "used", 600), late.count("{jane}:n", 600)];
    for (const call of await Promise.allSettled(calls))
      expect(call).toMatchObject({ status: "rejected", reason: { code: "store_unavailable" } });
    cluster.resume(frozen);
    await expectEventually(() => late.set("{jane}:after", "value", 600).then(() => true));
    expect(await cluster.ask(frozen, "keys", "*{jane}*")).toEqual(["rolecall:{jane}:after"]);
    await expectEventually(() => store.ping().then(() => true));
    await late.close();
  });
});

describe("a server with slots and no replica is gone", () => {
  it("everything is refused, and served again when it is back", async () => {
    const [gone = 0] = cluster.primaries;
    await cluster.kill(gone);
    await expectEventually(() =>
      store.ping().then(
        () => false,
        () => true,
      ),
    );
    // Once the others know, they take nothing either: half of a store would lose tombstones.
    await expectEventually(async () => {
      const key = "{somebody}";
      const all = await Promise.allSettled([store.get(key), store.add(key, "mark", 600), store.ping()]);
      return all.every(
        (one) => one.status === "rejected" && (one.reason as { code?: unknown }).code === "store_unavailable",
      );
    });
    await cluster.restart(gone);
    await expectEventually(() => store.ping().then(() => true));
    expect(await store.add("{anybody}", "mark", 600)).toBe(true);
    expect(log.lines.map(({ message }) => message).slice(-2)).toEqual([
      "redis can't be reached",
      "redis can be reached again",
    ]);
  });
});
