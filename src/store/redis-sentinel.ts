import type { ConnectionOptions } from "node:tls";
import { Redis } from "ioredis";
import type { HostAndPort, RedisAddress } from "../config/redis-url.ts";
import { close, retryDelay, type Connection } from "./redis-connection.ts";

/** The Sentinels' word that another server is the primary now ("High availability with Redis Sentinel", Pub/Sub messages). */
const SWITCHED = "+switch-master";

/**
 * Listens to every Sentinel, and has `primary` leave a server that is one no more as soon as the first of them says so. Such a
 * server may be frozen or cut off and not know it itself, and would still answer with what was true once.
 */
export function watchSwitches(
  { hosts, sentinel }: RedisAddress,
  tls: ConnectionOptions | undefined,
  primary: Connection,
): { close(): Promise<void> } {
  const onSwitch = (message: string): void => {
    const [name, , , host = "", port = ""] = message.split(" ");
    if (name === sentinel?.master && !isAt(primary, { host, port: Number(port) })) leave(primary);
  };
  const listeners = hosts.map((host) => {
    const listener = new Redis({
      ...host,
      ...(sentinel?.username !== undefined && { username: sentinel.username }),
      ...(sentinel?.password !== undefined && { password: sentinel.password }),
      ...(tls && { tls }),
      // What was said meanwhile is not missed: whoever asks the Sentinels anew is told who is the primary.
      retryStrategy: retryDelay,
      enableReadyCheck: false,
      disableClientInfo: true,
    });
    // That a Sentinel is away is no fault as long as another one answers; `primary` tells when none does.
    listener.on("error", () => undefined);
    listener.on("message", (_channel, message) => {
      onSwitch(message);
    });
    listener.subscribe(SWITCHED).catch(() => undefined);
    return listener;
  });
  return {
    async close() {
      await Promise.all(listeners.map(close));
    },
  };
}

function isAt({ stream }: Connection, { host, port }: HostAndPort): boolean {
  return "remoteAddress" in stream && stream.remoteAddress === host && stream.remotePort === port;
}

/** It is made anew by asking the Sentinels. While it is being made there is nothing to leave. */
function leave(primary: Connection): void {
  if (primary.status === "ready") primary.disconnect(true);
}
