import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { Redis } from "ioredis";

/** A real redis-server on a free port of 127.0.0.1, which keeps nothing on the disk. */
export interface TestRedis {
  readonly url: string;
  readonly port: number;
  /** Ends the server; {@link TestRedis.start} brings it back, empty, on the same port. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Freezes it: connections stay open and nothing answers. */
  pause(): void;
  resume(): void;
  /** Everything that is in it: what somebody who steals a dump has. */
  dump(): Promise<Map<string, string>>;
  /** Seconds that every key has left; -1: for ever. */
  lifetimes(): Promise<Map<string, number>>;
}

export async function startRedis(): Promise<TestRedis> {
  const port = await freePort();
  let server: ChildProcess | undefined;
  const redis: TestRedis = {
    url: `redis://127.0.0.1:${port}`,
    port,
    async start() {
      server = await spawnRedis(port);
    },
    async stop() {
      await killed(server);
      server = undefined;
    },
    pause: () => server?.kill("SIGSTOP"),
    resume: () => server?.kill("SIGCONT"),
    dump: () => ofEveryKey(port, async (client, key) => (await client.get(key)) ?? ""),
    lifetimes: () => ofEveryKey(port, (client, key) => client.ttl(key)),
  };
  await redis.start();
  return redis;
}

/** A redis-server with its settings as on the command line, which keeps nothing on the disk. */
export function spawnRedis(port: number, ...settings: string[]): Promise<ChildProcess> {
  return spawned("--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", ...settings);
}

/** A Sentinel, whose file it keeps its own notes in. */
export function spawnSentinel(file: string): Promise<ChildProcess> {
  return spawned(file, "--sentinel");
}

async function spawned(...args: string[]): Promise<ChildProcess> {
  const server = spawn("redis-server", args, { stdio: ["ignore", "pipe", "inherit"] });
  // A test run that is interrupted leaves no server behind.
  const kill = (): void => void server.kill("SIGKILL");
  process.once("exit", kill);
  server.once("exit", () => process.off("exit", kill));
  server.stdout.setEncoding("utf8");
  let said = "";
  for await (const chunk of server.stdout.iterator({ destroyOnReturn: false })) {
    said += String(chunk);
    if (/Ready to accept connections|Sentinel ID is/.test(said)) {
      server.stdout.resume();
      return server;
    }
  }
  throw new Error(`redis-server did not start:\n${said}`);
}

/** Ends a server as a power cut would. */
export async function killed(server: ChildProcess | undefined): Promise<void> {
  if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
  const ended = once(server, "exit");
  server.kill("SIGKILL");
  await ended;
}

async function ofEveryKey<T>(port: number, read: (client: Redis, key: string) => Promise<T>): Promise<Map<string, T>> {
  const client = new Redis(port);
  try {
    const keys = await client.keys("*");
    return new Map(await Promise.all(keys.map(async (key) => [key, await read(client, key)] as const)));
  } finally {
    client.disconnect();
  }
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}
