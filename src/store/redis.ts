import { Redis } from "ioredis";
import { Refusal } from "../flow/errors.ts";
import type { KeyValueStore, Log } from "../flow/ports.ts";

/** Every key of ours begins so, for a Redis that is shared. */
const KEY_PREFIX = "rolecall:";

/** Milliseconds; added up, a caller has its answer or its refusal within two seconds. */
const READY_TIMEOUT = 700;
const COMMAND_TIMEOUT = 1000;

/** A connection that stays silent for so long, while answers are due, is given up and made anew. */
const SILENCE_TIMEOUT = 3000;

/** A key must not be written again once its tombstone stands, and another process may be writing that just now. */
const SET_UNLESS = `
if redis.call("exists", KEYS[1]) == 1 then return 0 end
redis.call("set", KEYS[2], ARGV[1], "EX", ARGV[2])
return 1`;

/** A count must not outlive its time, also where the process that began it is gone. */
const COUNT = `
local count = redis.call("incr", KEYS[1])
if count == 1 then redis.call("expire", KEYS[1], ARGV[1]) end
return {count, redis.call("ttl", KEYS[1])}`;

interface Client extends Redis {
  addOne(key: string, ttlSeconds: number): Promise<[count: number, secondsLeft: number]>;
  setUnless(tombstone: string, key: string, value: string, ttlSeconds: number): Promise<0 | 1>;
}

/**
 * A store in the Redis at `url` (Redis 6.2 or later). Connects by itself, now and after every loss. A command is sent once or
 * not at all: nothing waits in a queue to be carried out after its caller was refused. Failures are logged by name.
 */
export function redisStore(url: string, log: Log): KeyValueStore & { close(): Promise<void> } {
  const client = connect(url, log);

  async function ask<T>(command: (client: Client) => Promise<T>): Promise<T> {
    try {
      await ready(client);
      return await command(client);
    } catch (error) {
      // No `cause`: ioredis hangs the command with its arguments on some of its errors.
      throw new Refusal("store_unavailable", `redis: ${error instanceof Error ? messageOf(error) : "unknown error"}`);
    }
  }

  return {
    get: (key) => ask(async (redis) => (await redis.get(key)) ?? undefined),
    set: (key, value, ttlSeconds) =>
      ask(async (redis) => {
        await redis.set(key, value, "EX", wholeSeconds(ttlSeconds));
      }),
    add: (key, value, ttlSeconds) =>
      ask(async (redis) => (await redis.set(key, value, "EX", wholeSeconds(ttlSeconds), "NX")) === "OK"),
    setUnless: (tombstone, key, value, ttlSeconds) =>
      ask(async (redis) => (await redis.setUnless(tombstone, key, value, wholeSeconds(ttlSeconds))) === 1),
    take: (key) => ask(async (redis) => (await redis.getdel(key)) ?? undefined),
    delete: (key) =>
      ask(async (redis) => {
        await redis.del(key);
      }),
    count: (key, ttlSeconds) =>
      ask(async (redis) => {
        const [count, secondsLeft] = await redis.addOne(key, wholeSeconds(ttlSeconds));
        return { count, secondsLeft: Math.max(1, secondsLeft) };
      }),
    ping: () =>
      ask(async (redis) => {
        await redis.ping();
      }),
    close: () => close(client),
  };
}

function connect(url: string, log: Log): Client {
  const client = new Redis(url, {
    keyPrefix: KEY_PREFIX,
    connectTimeout: COMMAND_TIMEOUT,
    commandTimeout: COMMAND_TIMEOUT,
    socketTimeout: SILENCE_TIMEOUT,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(50 * 2 ** attempt, 1000),
    // After a failover the old primary answers so until it is gone.
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
    scripts: { setUnless: { lua: SET_UNLESS, numberOfKeys: 2 }, addOne: { lua: COUNT, numberOfKeys: 1 } },
  });
  // One for each command that waits for the connection.
  client.setMaxListeners(0);
  let lost = false;
  let why: string | undefined;
  client.on("error", (error) => {
    why = messageOf(error);
  });
  client.on("reconnecting", () => {
    if (!lost) log.error({ error: why ?? "the connection was closed" }, "redis can't be reached");
    lost = true;
  });
  client.on("ready", () => {
    if (lost) log.info({}, "redis can be reached again");
    lost = false;
    why = undefined;
  });
  return client as Client;
}

/** Resolves once commands can be sent; a start and a short loss are waited for, a longer one is not. */
async function ready(client: Client): Promise<void> {
  if (client.status === "ready") return;
  if (client.status === "end") throw new Error("the connection was closed");
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const onReady = (): void => {
    resolve(undefined);
  };
  const timer = setTimeout(() => {
    reject(new Error("not connected"));
  }, READY_TIMEOUT);
  client.once("ready", onReady);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    client.off("ready", onReady);
  }
}

async function close(client: Client): Promise<void> {
  if (client.status === "end") return;
  // Between two attempts there is no connection whose end could be told: disconnect() only calls the next attempt off.
  if (client.status === "reconnecting") {
    client.disconnect();
    return;
  }
  const { promise, resolve } = Promise.withResolvers<undefined>();
  client.once("end", () => {
    resolve(undefined);
  });
  client.disconnect();
  await promise;
}

/** Redis repeats what it was sent where it doesn't know the command, a password too. */
function messageOf({ message }: Error): string {
  return message.replace(/,? with args beginning with:.*/s, "");
}

/** Redis takes whole seconds, one at least. */
function wholeSeconds(ttlSeconds: number): number {
  return Math.max(1, Math.ceil(ttlSeconds));
}
