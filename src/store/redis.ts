import { parseRedisUrl } from "../config/redis-url.ts";
import { Refusal } from "../flow/errors.ts";
import type { KeyValueStore, Log } from "../flow/ports.ts";
import { messageOf, Outages, type Connection } from "./redis-connection.ts";
import { redisServers } from "./redis-servers.ts";

/** Milliseconds that the replicas have; less than a command's own time. */
const REPLICATE_WITHIN = 500;

/**
 * A store in the Redis at `url` (Redis 6.2 or later; its forms: {@link parseRedisUrl}). Connects by itself, now and after
 * every loss. A command is sent once or not at all: nothing waits in a queue to be carried out after its caller was
 * refused. Where the URL says `replicas=N`, a write is answered once N replicas have it. Failures are logged by name.
 */
export function redisStore(url: string, log: Log): KeyValueStore & { close(): Promise<void> } {
  const address = parseRedisUrl(url);
  const outages = new Outages(log);
  const servers = redisServers(address, outages);
  // WAIT holds up all that comes after it on its connection: reads shall not stand behind writes.
  const writers = address.replicas > 0 ? redisServers(address, outages) : servers;

  const read = <T>(key: string, command: (redis: Connection) => Promise<T>): Promise<T> =>
    refusing(() => servers.on(key, command));

  const write = <T>(key: string, command: (redis: Connection) => Promise<T>): Promise<T> =>
    refusing(() =>
      writers.on(key, async (redis) => {
        if (address.replicas === 0) return command(redis);
        const [answer, copies] = await Promise.all([command(redis), redis.wait(address.replicas, REPLICATE_WITHIN)]);
        // The write stands where it was made. Whoever asked is told no, which is what its loss would make of it.
        if (copies < address.replicas) throw new Error("too few replicas have the write");
        return answer;
      }),
    );

  return {
    get: (key) => read(key, async (redis) => (await redis.get(key)) ?? undefined),
    getAll: ([first = "", ...others]) =>
      read(first, async (redis) => (await redis.mget(first, ...others)).map((value) => value ?? undefined)),
    set: (key, value, ttlSeconds) =>
      write(key, async (redis) => {
        await redis.set(key, value, "EX", wholeSeconds(ttlSeconds));
      }),
    add: (key, value, ttlSeconds) =>
      write(key, async (redis) => (await redis.set(key, value, "EX", wholeSeconds(ttlSeconds), "NX")) === "OK"),
    setUnless: (tombstone, key, value, ttlSeconds) =>
      write(key, async (redis) => (await redis.setUnless(tombstone, key, value, wholeSeconds(ttlSeconds))) === 1),
    take: (key) => write(key, async (redis) => (await redis.getdel(key)) ?? undefined),
    delete: (key) =>
      write(key, async (redis) => {
        await redis.del(key);
      }),
    count: (key, ttlSeconds) =>
      read(key, async (redis) => {
        const [count, secondsLeft] = await redis.addOne(key, wholeSeconds(ttlSeconds));
        return { count, secondsLeft: Math.max(1, secondsLeft) };
      }),
    ping: () => refusing(() => servers.ping()),
    async close() {
      await Promise.all([servers.close(), writers.close()]);
    },
  };
}

async function refusing<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    // No `cause`: ioredis hangs the command with its arguments on some of its errors.
    throw new Refusal("store_unavailable", `redis: ${error instanceof Error ? messageOf(error) : "unknown error"}`);
  }
}

/** Redis takes whole seconds, one at least. */
function wholeSeconds(ttlSeconds: number): number {
  return Math.max(1, Math.ceil(ttlSeconds));
}
