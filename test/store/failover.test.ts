import { randomUUID } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { Refusal } from "../../src/flow/errors.ts";
import { redisStore } from "../../src/store/redis.ts";
import { recordingLog } from "../support/log.ts";
import {
  expectEventually,
  startCluster,
  startSentinels,
  type ClusterGroup,
  type RedisGroup,
  type SentinelGroup,
} from "../support/redis-groups.ts";

type Store = ReturnType<typeof redisStore>;

/** Far above the two seconds that are promised: longer means that it never answered. */
const HANGS = 8000;

/** What became of one mark that every store wanted at once. */
type Outcome = "taken" | "not taken" | "refused" | "hung";

interface Load extends AsyncDisposable {
  /** Resolves once so many more marks were taken. */
  taken(count: number): Promise<void>;
  /** Stops it; what became of each mark. */
  end(): Promise<ReadonlyMap<string, readonly Outcome[]>>;
}

/** Several callers on every store, each wanting the same marks at the same moment, until told to stop. */
function underLoad(stores: Store[]): Load {
  const marks = new Map<string, Outcome[]>();
  let stopped = false;
  const want = async (store: Store, mark: string): Promise<void> => {
    const hung = new Promise<Outcome>((resolve) => setTimeout(resolve, HANGS, "hung").unref());
    const answer = store.add(mark, "used", 600).then(
      (first): Outcome => (first ? "taken" : "not taken"),
      (error: unknown): Outcome => {
        if (error instanceof Refusal && error.code === "store_unavailable") return "refused";
        throw error;
      },
    );
    marks.get(mark)?.push(await Promise.race([answer, hung]));
  };
  const caller = async (): Promise<void> => {
    while (!stopped) {
      const mark = `{${randomUUID()}}:used`;
      marks.set(mark, []);
      await Promise.all([...stores, ...stores].map((store) => want(store, mark)));
      // Refusals can come at once, and would leave no time for anything else.
      await setImmediate();
    }
  };
  const callers = Promise.all(Array.from({ length: 8 }, caller));
  const end: Load["end"] = async () => {
    stopped = true;
    await callers;
    return marks;
  };
  return {
    async taken(count) {
      const now = (): number => [...marks.values()].filter((all) => all.includes("taken")).length;
      const before = now();
      await expectEventually(() => Promise.resolve(now() >= before + count));
    },
    end,
    // Also where the test fails: it would go on for ever.
    async [Symbol.asyncDispose]() {
      await end();
    },
  };
}

/** No caller hung, no mark was taken twice, and whatever was taken is still taken. */
async function expectKept(marks: ReadonlyMap<string, readonly Outcome[]>, store: Store): Promise<void> {
  const all = [...marks.values()].flat();
  expect(all).toContain("refused");
  expect(all).not.toContain("hung");
  for (const [mark, outcomes] of marks) {
    const taken = outcomes.filter((outcome) => outcome === "taken").length;
    expect(taken, `${mark} was taken by so many`).toBeLessThanOrEqual(1);
    if (taken === 1) expect(await store.add(mark, "again", 600), `${mark} was free again`).toBe(false);
  }
}

/** Sessions as people have them while it happens. */
async function keepSessions(store: Store): Promise<Map<string, string>> {
  const sessions = new Map(Array.from({ length: 60 }, () => [`session:{${randomUUID()}}`, randomUUID()]));
  const keep = ([key, value]: [string, string]): Promise<void> =>
    answers(() => store.setUnless(`${key}:ended`, key, value, 600));
  await Promise.all(Array.from(sessions, keep));
  return sessions;
}

async function expectSessions(store: Store, sessions: ReadonlyMap<string, string>): Promise<void> {
  for (const [key, value] of sessions) expect(await store.get(key)).toBe(value);
}

function answers(ask: () => Promise<unknown>): Promise<void> {
  return expectEventually(() => ask().then(() => true));
}

async function newPrimary(group: RedisGroup, key: string, old: number): Promise<number> {
  await expectEventually(async () => (await group.primaryOf(key)) !== old);
  return group.primaryOf(key);
}

describe("by Sentinel, with each write on a replica", () => {
  let group: SentinelGroup;
  let stores: Store[];
  const log = recordingLog();

  beforeAll(async () => {
    group = await startSentinels();
    stores = [redisStore(group.url(1), log), redisStore(group.url(1), recordingLog())];
    await Promise.all(stores.map((store) => store.ping()));
  });
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await group.stop();
  });

  it("the primary is killed under load: nothing hangs, is used twice or lost, and it goes on by itself", async () => {
    const [store] = stores as [Store];
    const sessions = await keepSessions(store);
    await using load = underLoad(stores);
    await load.taken(50);
    const old = await group.primaryOf("");
    await group.kill(old);
    await newPrimary(group, "", old);
    await load.taken(50);
    await expectKept(await load.end(), store);
    await expectSessions(store, sessions);
    expect(log.lines.at(0)?.message).toBe("redis can't be reached");
    await expectEventually(() => Promise.resolve(log.lines.at(-1)?.message === "redis can be reached again"));
    await group.restart(old);
  });

  it("the primary freezes and wakes up after another one has taken over: it is left, and not asked again", async () => {
    const reader = redisStore(group.url(), recordingLog());
    onTestFinished(() => reader.close());
    await answers(() => reader.set("truth", "old", 600));
    const old = await group.primaryOf("");
    group.pause(old);
    const current = await newPrimary(group, "", old);
    await group.ask(current, "set", "rolecall:truth", "new");
    group.resume(old);
    // Until the Sentinel's word has come the old one answers; from then on it is not asked again.
    await expectEventually(async () => (await reader.get("truth")) === "new");
    const told = new Set<string | undefined>();
    for (let i = 0; i < 50; i += 1) told.add(await reader.get("truth").catch(() => "new"));
    expect([...told]).toEqual(["new"]);
    expect(await reader.add("mark", "used", 600)).toBe(true);
    expect(await group.ask(current, "exists", "rolecall:mark")).toBe(1);
  });
});

describe("by Sentinel, where no replica is left", () => {
  it("refuses writes that were to be on one, goes on reading, and writes again when one is there", async () => {
    const group = await startSentinels(1);
    onTestFinished(() => group.stop());
    const store = redisStore(group.url(1), recordingLog());
    onTestFinished(() => store.close());
    const [primary = 0, replica = 0] = group.nodes;
    await answers(() => store.set("session", "Jane's", 600));
    await group.kill(replica);
    await expect(store.add("mark", "used", 600)).rejects.toMatchObject({
      code: "store_unavailable",
      message: "redis: too few replicas have the write",
    });
    expect(await store.get("session")).toBe("Jane's");
    await store.ping();
    await group.restart(replica);
    await answers(() => store.set("session", "Joe's", 600));
    expect(await group.ask(replica, "get", "rolecall:session")).toBe("Joe's");
    expect(await group.primaryOf("")).toBe(primary);
  });
});

describe("as a Cluster, with each write on a replica", () => {
  let group: ClusterGroup;
  let stores: Store[];

  beforeAll(async () => {
    group = await startCluster(1);
    stores = [redisStore(group.url(1), recordingLog()), redisStore(group.url(1), recordingLog())];
    await Promise.all(stores.map((store) => store.ping()));
  });
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await group.stop();
  });

  it("a primary is killed under load: nothing hangs, is used twice or lost, and it goes on by itself", async () => {
    const [store] = stores as [Store];
    const sessions = await keepSessions(store);
    await using load = underLoad(stores);
    await load.taken(50);
    const [old = 0] = group.primaries;
    const key = await keyOn(group, old);
    await group.kill(old);
    await newPrimary(group, `rolecall:${key}`, old);
    // What the new primary has can be read; it has no replica yet that could hold a write.
    await answers(() => store.get(key));
    await expect(store.set(key, "value", 600)).rejects.toMatchObject({ message: /too few replicas/ });
    await group.restart(old);
    await answers(() => store.set(key, "value", 600));
    await load.taken(50);
    await expectKept(await load.end(), store);
    await expectSessions(store, sessions);
    await store.ping();
  });
});

/** A key that lies on the server at `port`. */
async function keyOn(group: RedisGroup, port: number): Promise<string> {
  for (;;) {
    const key = randomUUID();
    if ((await group.primaryOf(`rolecall:${key}`)) === port) return key;
  }
}
