import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { freePort, killed, spawnRedis, spawnSentinel } from "./redis.ts";

/** Milliseconds after which a silent server is held to be dead. */
const SILENCE = 500;

/** Several redis-servers on free ports of 127.0.0.1 that stand in for each other. */
export interface RedisGroup {
  /** With the `replicas` that the test wants, 0 where it says none. */
  url(replicas?: number): string;
  /** The server that has `key`, or every key, now. */
  primaryOf(key: string): Promise<number>;
  kill(port: number): Promise<void>;
  pause(port: number): void;
  resume(port: number): void;
  /** A dead server again, empty, as a replica of whoever is the primary now. */
  restart(port: number): Promise<void>;
  /** What an administrator asks of one server. */
  ask(port: number, ...command: [string, ...string[]]): Promise<unknown>;
  stop(): Promise<void>;
}

export interface SentinelGroup extends RedisGroup {
  readonly nodes: readonly number[];
  readonly sentinels: readonly number[];
}

export interface ClusterGroup extends RedisGroup {
  readonly primaries: readonly number[];
}

/**
 * Three Sentinels, a primary, and two replicas unless said otherwise. `silence`: milliseconds after which they hold a
 * server to be dead, so at least as long nobody is the primary.
 */
export async function startSentinels(replicas = 2, silence = SILENCE): Promise<SentinelGroup> {
  const group = new Servers();
  const nodes = await ports(1 + replicas);
  const sentinels = await ports(3);
  const [first = 0, ...others] = nodes;
  await group.start(first);
  for (const port of others) await group.start(port, "--replicaof", "127.0.0.1", String(first));
  for (const port of others)
    await expectEventually(async () => String(await group.ask(port, "role")).includes(",connected,"));
  await expectEventually(() => group.hasReplicas(first, replicas));
  const ids = sentinels.map((port) => [port, randomBytes(20).toString("hex")] as const);
  for (const [port, id] of ids) {
    const known = ids.filter((other) => other[0] !== port);
    const lines = [
      `port ${port}`,
      "bind 127.0.0.1",
      `dir ${group.folder}`,
      `sentinel myid ${id}`,
      `sentinel monitor rolecall 127.0.0.1 ${first} 2`,
      `sentinel down-after-milliseconds rolecall ${silence}`,
      "sentinel failover-timeout rolecall 2000",
      ...others.map((replica) => `sentinel known-replica rolecall 127.0.0.1 ${replica}`),
      ...known.map(([other, otherId]) => `sentinel known-sentinel rolecall 127.0.0.1 ${other} ${otherId}`),
    ];
    const file = join(group.folder, `sentinel-${port}.conf`);
    writeFileSync(file, `${lines.join("\n")}\n`);
    group.adopt(port, await spawnSentinel(file));
  }
  const primaryOf = async (): Promise<number> => {
    const answer = await group.ask(sentinels[0] ?? 0, "sentinel", "get-master-addr-by-name", "rolecall");
    return Number((answer as string[])[1]);
  };
  for (const port of sentinels)
    await expectEventually(async () =>
      String(await group.ask(port, "sentinel", "ckquorum", "rolecall")).startsWith("OK"),
    );
  return {
    ...group.methods(),
    nodes,
    sentinels,
    url: (n = 0) => `redis+sentinel://${sentinels.map((port) => `127.0.0.1:${port}`).join(",")}/rolecall?replicas=${n}`,
    primaryOf,
    restart: async (port) => group.start(port, "--replicaof", "127.0.0.1", String(await primaryOf())),
  };
}

/** A Cluster of three primaries; `replicas` more servers for each stand behind them. */
export async function startCluster(replicas = 0): Promise<ClusterGroup> {
  const group = new Servers();
  const all = await ports(3 * (1 + replicas));
  const primaries = all.slice(0, 3);
  const startNode = async (port: number): Promise<void> => {
    const settings = { enabled: "yes", port: await freePort(), "node-timeout": SILENCE, "replica-validity-factor": 0 };
    const flags = Object.entries(settings).flatMap(([name, value]) => [`--cluster-${name}`, String(value)]);
    await group.start(port, ...flags, "--cluster-config-file", `nodes-${port}.conf`);
  };
  await Promise.all(all.map(startNode));
  const busPort = async (port: number): Promise<string> => {
    const [, , value] = ["", ...((await group.ask(port, "config", "get", "cluster-port")) as string[])];
    return String(value);
  };
  const [first = 0] = primaries;
  for (const [i, port] of all.entries()) {
    await group.ask(port, "cluster", "set-config-epoch", String(i + 1));
    if (port !== first) await group.ask(port, "cluster", "meet", "127.0.0.1", String(first), await busPort(first));
  }
  const ranges = ["0 5460", "5461 10922", "10923 16383"];
  for (const [i, port] of primaries.entries())
    await group.ask(port, "cluster", "addslotsrange", ...(ranges[i] ?? "").split(" "));
  const isWhole = async (port: number): Promise<boolean> => {
    const info = String(await group.ask(port, "cluster", "info"));
    return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${all.length}`);
  };
  for (const port of all) await expectEventually(() => isWhole(port));
  for (const [i, port] of all.slice(3).entries()) {
    await group.ask(port, "cluster", "replicate", String(await group.ask(primaries[i % 3] ?? 0, "cluster", "myid")));
    await expectEventually(async () => String(await group.ask(port, "role")).includes(",connected,"));
  }
  for (const port of primaries) await expectEventually(() => group.hasReplicas(port, replicas));
  return {
    ...group.methods(),
    primaries,
    url: (n = 0) => `redis+cluster://${primaries.map((port) => `127.0.0.1:${port}`).join(",")}?replicas=${n}`,
    async primaryOf(key) {
      const living = all.find((port) => group.lives(port)) ?? 0;
      const slot = Number(await group.ask(living, "cluster", "keyslot", key));
      const slots = (await group.ask(living, "cluster", "slots")) as [number, number, [string, number]][];
      return slots.find(([from, to]) => from <= slot && slot <= to)?.[2][1] ?? 0;
    },
    restart: startNode,
  };
}

/** The processes of a group, by port, and the folder of their files. */
class Servers {
  readonly folder = mkdtempSync(join(tmpdir(), "rolecall-redis-"));
  readonly #running = new Map<number, ChildProcess>();

  async start(port: number, ...settings: string[]): Promise<void> {
    // A replica would wait five seconds for others that want the same copy, which it writes to its folder.
    const replication = ["--repl-diskless-sync-delay", "0", "--dir", this.folder, "--dbfilename", `${port}.rdb`];
    this.adopt(port, await spawnRedis(port, ...replication, ...settings));
  }

  adopt(port: number, server: ChildProcess): void {
    this.#running.set(port, server);
  }

  lives(port: number): boolean {
    return this.#running.has(port);
  }

  async ask(port: number, ...[name, ...args]: [string, ...string[]]): Promise<unknown> {
    const client = new Redis(port, { retryStrategy: null, commandTimeout: 2000 });
    client.on("error", () => undefined);
    try {
      return await client.call(name, ...args);
    } finally {
      client.disconnect();
    }
  }

  /** Whether so many replicas have told the primary that they follow. */
  async hasReplicas(port: number, replicas: number): Promise<boolean> {
    return Number(await this.ask(port, "wait", String(replicas), "100")) >= replicas;
  }

  methods(): Omit<RedisGroup, "url" | "primaryOf" | "restart"> {
    return {
      ask: (...command) => this.ask(...command),
      kill: async (port) => {
        await killed(this.#running.get(port));
        this.#running.delete(port);
      },
      pause: (port) => this.#running.get(port)?.kill("SIGSTOP"),
      resume: (port) => this.#running.get(port)?.kill("SIGCONT"),
      stop: async () => {
        await Promise.all(Array.from(this.#running.values(), killed));
        rmSync(this.folder, { recursive: true, force: true });
      },
    };
  }
}

/** Whatever `check` throws on the way counts as no. */
export async function expectEventually(check: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 15_000;
  while (!(await check().catch(() => false))) {
    if (Date.now() > end) throw new Error(`never came true: ${check.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function ports(count: number): Promise<number[]> {
  const found = new Set<number>();
  while (found.size < count) found.add(await freePort());
  return [...found];
}
