import { Redis, type RedisOptions } from "ioredis";
import type { Log } from "../flow/ports.ts";

/** Every key of ours begins so, for a Redis that is shared. */
export const KEY_PREFIX = "rolecall:";

/** Milliseconds; added up, a caller has its answer or its refusal within two seconds. */
export const SEND_WITHIN = 700;
const COMMAND_TIMEOUT = 1000;

/** A connection that stays silent for so long, while answers are due, is given up and made anew. */
const SILENCE_TIMEOUT = 3000;
/** How long a server that is left behind is given to say goodbye. */
const FAREWELL_TIMEOUT = 200;

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

/** Which server, by its address or by Sentinels, and as whom. */
export type Where = Omit<RedisOptions, "replyMapping">;

/** A connection to one server. */
export interface Connection extends Redis {
  addOne(key: string, ttlSeconds: number): Promise<[count: number, secondsLeft: number]>;
  setUnless(tombstone: string, key: string, value: string, ttlSeconds: number): Promise<0 | 1>;
}

/** The servers of one Redis, in whichever of its forms. */
export interface RedisServers {
  /** What `command` gives on the server that has `key` now. Rejects where there is none in time, or with Redis' error. */
  on<T>(key: string, command: (connection: Connection) => Promise<T>): Promise<T>;
  /** Resolves where every key's server answers. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Milliseconds before the next attempt to connect. */
export function retryDelay(attempt: number): number {
  return Math.min(50 * 2 ** attempt, 1000);
}

/**
 * A connection to `where` that is made now and again after every loss, at least once a second. A command is sent once,
 * and at once, or not at all: nothing waits in a queue to be carried out after its caller was refused.
 */
export function connect(where: Where, outages: Outages): Connection {
  const client = new Redis({
    ...where,
    keyPrefix: KEY_PREFIX,
    connectTimeout: COMMAND_TIMEOUT,
    commandTimeout: COMMAND_TIMEOUT,
    socketTimeout: SILENCE_TIMEOUT,
    disconnectTimeout: FAREWELL_TIMEOUT,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // Its name and version would need a right of their own.
    disableClientInfo: true,
    retryStrategy: retryDelay,
    // After a failover the old primary answers so until it is gone.
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
    scripts: { setUnless: { lua: SET_UNLESS, numberOfKeys: 2 }, addOne: { lua: COUNT, numberOfKeys: 1 } },
  });
  // One for each command that waits for the connection.
  client.setMaxListeners(0);
  let why: string | undefined;
  client.on("error", (error) => {
    why = messageOf(error);
    // With Sentinels that can't be reached there is no connection whose loss would be told.
    if (client.status === "connecting") outages.lost(client, why);
  });
  client.on("reconnecting", () => {
    outages.lost(client, why);
  });
  client.on("ready", () => {
    outages.over(client);
    why = undefined;
  });
  client.on("end", () => {
    outages.forget(client);
  });
  return client as Connection;
}

/**
 * Resolves once commands can be sent, at `sendBy` (epoch milliseconds) at the latest; a start and a short loss are waited
 * for, a longer one is not.
 */
export async function ready(client: Connection, sendBy: number): Promise<void> {
  // One that is being left takes nothing more, and the next one is on its way.
  if (client.status === "ready" && client.stream.writable) return;
  if (client.status === "end") throw new Error("the connection was closed");
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const onReady = (): void => {
    resolve(undefined);
  };
  const timer = setTimeout(
    () => {
      reject(new Error("not connected"));
    },
    Math.max(0, sendBy - Date.now()),
  );
  client.once("ready", onReady);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    client.off("ready", onReady);
  }
}

export async function close(client: Redis): Promise<void> {
  if (client.status === "end") return;
  // Between two attempts there is no connection whose end could be told: disconnect() only calls the next attempt off.
  if (client.status === "reconnecting" || client.status === "wait") {
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

/** Which connections are lost just now. The log says when the first one goes and when all are back. */
export class Outages {
  readonly #lost = new Set<unknown>();
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  lost(what: unknown, why: string | undefined): void {
    if (this.#lost.size === 0) this.#log.error({ error: why ?? "the connection was closed" }, "redis can't be reached");
    this.#lost.add(what);
  }

  over(what: unknown): void {
    if (this.#lost.delete(what) && this.#lost.size === 0) this.#log.info({}, "redis can be reached again");
  }

  /** No longer wanted: its loss is none. */
  forget(what: unknown): void {
    this.over(what);
  }
}

/** Redis repeats what it was sent where it doesn't know the command, a password too. */
export function messageOf({ message }: Error): string {
  return message.replace(/,? with args beginning with:.*/s, "");
}
