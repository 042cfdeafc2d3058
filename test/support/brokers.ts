import { randomBytes } from "node:crypto";
import { redisStore } from "../../src/store/redis.ts";
import { sealed } from "../../src/store/sealed.ts";
import { startAuthorization, type Authorization } from "./authorization.ts";
import { recordingLog } from "./log.ts";
import { startRedis, type TestRedis } from "./redis.ts";

/** Two authorization servers on one Redis, as two processes of one broker are. */
export interface Brokers {
  readonly redis: TestRedis;
  readonly of: Authorization;
  readonly other: Authorization;
  /** Resolves when Redis answers the first of them. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

export async function startBrokers(): Promise<Brokers> {
  const redis = await startRedis();
  const key = randomBytes(32);
  const [one, two] = [redisStore(redis.url, recordingLog()), redisStore(redis.url, recordingLog())];
  const of = await startAuthorization(sealed(one, key, recordingLog()));
  const other = await startAuthorization(sealed(two, key, recordingLog()));
  return {
    redis,
    of,
    other,
    ping: () => one.ping(),
    async close() {
      await Promise.all([of.close(), other.close(), one.close(), two.close()]);
      await redis.stop();
    },
  };
}
