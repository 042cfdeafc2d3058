import { readFileSync } from "node:fs";
import type { RedisAddress } from "../config/redis-url.ts";
import { RedisCluster } from "./redis-cluster.ts";
import {
  close,
  connect,
  ready,
  retryDelay,
  SEND_WITHIN,
  type Connection,
  type Outages,
  type RedisServers,
  type Where,
} from "./redis-connection.ts";
import { watchSwitches } from "./redis-sentinel.ts";

/** Connects, now and after every loss. Throws an Error where the file of authorities can't be read. */
export function redisServers(address: RedisAddress, outages: Outages): RedisServers {
  const options = connectionOptions(address);
  if (address.form === "cluster")
    return new RedisCluster(address.hosts, (node) => connect({ ...options, ...node }, outages));
  if (address.sentinel === undefined) return oneServer(connect({ ...options, ...address.hosts[0] }, outages));
  const { master, username, password } = address.sentinel;
  const primary = connect(
    {
      ...options,
      name: master,
      sentinels: [...address.hosts],
      role: "master",
      ...(username !== undefined && { sentinelUsername: username }),
      ...(password !== undefined && { sentinelPassword: password }),
      ...(options.tls && { sentinelTLS: options.tls, enableTLSForSentinelMode: true }),
      sentinelCommandTimeout: SEND_WITHIN,
      sentinelRetryStrategy: retryDelay,
    },
    outages,
  );
  const watching = watchSwitches(address, options.tls, primary);
  return oneServer(primary, watching);
}

function oneServer(connection: Connection, watching?: { close(): Promise<void> }): RedisServers {
  return {
    async on(_key, command) {
      await ready(connection, Date.now() + SEND_WITHIN);
      return command(connection);
    },
    async ping() {
      await ready(connection, Date.now() + SEND_WITHIN);
      await connection.ping();
    },
    async close() {
      await Promise.all([close(connection), watching?.close()]);
    },
  };
}

function connectionOptions({ username, password, database, tls, ca }: RedisAddress): Where {
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    db: database,
    // Certificate and name are checked, as Node does it.
    ...(tls && { tls: ca === undefined ? {} : { ca: readFileSync(ca, "utf8") } }),
  };
}
