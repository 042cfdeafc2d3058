import { Redis } from "ioredis";
import type { TestRedis } from "./redis.ts";

/** Somebody who can write the broker's Redis, and has none of its keys. */
export interface RedisWriter {
  /** The values of all keys that match, as they are. */
  copy(pattern: string): Promise<ReadonlyMap<string, string>>;
  restore(values: ReadonlyMap<string, string>): Promise<void>;
  close(): void;
}

export function redisOf({ port }: TestRedis): RedisWriter {
  const client = new Redis(port);
  return {
    async copy(pattern) {
      const keys = await client.keys(pattern);
      return new Map(await Promise.all(keys.map(async (key) => [key, (await client.get(key)) ?? ""] as const)));
    },
    async restore(values) {
      for (const [key, value] of values) await client.set(key, value, "EX", 600);
    },
    close: () => {
      client.disconnect();
    },
  };
}
