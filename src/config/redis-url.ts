import type { Config } from "./config.ts";

/** A host, by name or address (IPv6 without its brackets), and a port. */
export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

interface Login {
  /** Left out: Redis' own `default` user. */
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** What `redis.url` says: where Redis is, how it is talked to, and what counts as written. */
export interface RedisAddress extends Login {
  /** The one server; the Sentinels; or some nodes of the Cluster, which know the others. */
  readonly hosts: readonly HostAndPort[];
  readonly form: "one" | "sentinel" | "cluster";
  /** The name that the Sentinels know the primary by, and who they let in. */
  readonly sentinel: (Login & { readonly master: string }) | undefined;
  readonly database: number;
  readonly tls: boolean;
  /** Absolute path of a PEM file with the authorities that count; undefined: Node's own. */
  readonly ca: string | undefined;
  /** A write is answered once so many replicas have it. */
  readonly replicas: number;
}

const PARAMETERS = {
  one: ["ca", "replicas"],
  sentinel: ["ca", "replicas", "sentinelUser", "sentinelPassword"],
  cluster: ["ca", "replicas"],
} as const;

/** Scheme, user and password, hosts, path, query. URL itself takes no more than one host. */
const URL_PARTS = /^redis(s?)(?:\+(sentinel|cluster))?:\/\/(?:([^/?#]*)@)?([^@/?#]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/;
const HOST = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?$/;

const FORMS =
  "must lead to a URL with redis:// or rediss:// (TLS), redis+sentinel:// or rediss+sentinel://, redis+cluster:// or rediss+cluster://";
const HOSTS = "its URL must name each host as HOST or HOST:PORT, several with a comma between them";

/** Why a URL can't be read; the message holds no part of it. */
export class RedisUrlError extends Error {}

/**
 * The parts of one of
 *
 *     redis://USER:PASSWORD@HOST:6379/DATABASE
 *     redis+sentinel://USER:PASSWORD@HOST:26379,HOST:26379,HOST:26379/MASTER/DATABASE?sentinelUser=…&sentinelPassword=…
 *     redis+cluster://USER:PASSWORD@HOST:6379,HOST:6379,HOST:6379
 *
 * each with `rediss` for TLS, and with the parameters `ca` and `replicas`. Read here and not by ioredis, so that a URL
 * sets what is documented and nothing else. Throws {@link RedisUrlError}.
 */
export function parseRedisUrl(url: string): RedisAddress {
  const parts = URL_PARTS.exec(url);
  if (!parts) throw new RedisUrlError(FORMS);
  const [, tls, named, userInfo = "", hosts = "", path = "", query = ""] = parts;
  const form = (named ?? "one") as RedisAddress["form"];
  const parameters = new URLSearchParams(query);
  checkParameters(form, parameters);
  const [first = "", second, ...more] = path.split("/").map(decoded);
  const [master, database] = form === "sentinel" ? [first, second] : [undefined, first];
  if (more.length > 0 || (form !== "sentinel" && second !== undefined)) throw new RedisUrlError(FORMS);
  if (master === "")
    throw new RedisUrlError("its URL must say the primary's name: redis+sentinel://HOST,HOST,HOST/NAME");
  return {
    form,
    ...loginIn(userInfo),
    hosts: hosts.split(",").map((host) => hostAndPort(host, form === "sentinel" ? 26_379 : 6379)),
    sentinel: master === undefined ? undefined : { master, ...sentinelLogin(parameters) },
    database: databaseIn(form, database),
    tls: tls === "s",
    ca: authorities(tls === "s", parameters.get("ca")),
    replicas: replicasIn(parameters.get("replicas")),
  };
}

/** What is wrong with `redis.url`, without any part of it; undefined where nothing is. */
export function redisUrlFault(url: string, environment: Config["environment"] | undefined): string | undefined {
  try {
    const { form, hosts } = parseRedisUrl(url);
    if (form === "one" && hosts.length > 1)
      return "its URL names several hosts: say redis+sentinel:// or redis+cluster://";
    if (form !== "one" && environment === "production" && !/[?&]replicas=/.test(url))
      return "its URL must say replicas=1, so that no write is lost with one server, or replicas=0 where that may be";
    return undefined;
  } catch (error) {
    if (error instanceof RedisUrlError) return error.message;
    throw error;
  }
}

function checkParameters(form: RedisAddress["form"], parameters: URLSearchParams): void {
  const known: readonly string[] = PARAMETERS[form];
  const names = [...parameters.keys()];
  if (names.some((name, i) => !known.includes(name) || names.indexOf(name) < i))
    throw new RedisUrlError(`its URL may have the parameters ${known.join(", ")} only, each once`);
}

function loginIn(userInfo: string): Login {
  const colon = userInfo.indexOf(":");
  const username = decoded(colon < 0 ? userInfo : userInfo.slice(0, colon));
  const password = decoded(colon < 0 ? "" : userInfo.slice(colon + 1));
  if (username !== "" && password === "") throw new RedisUrlError("its URL has a user name without a password");
  return { username: orUndefined(username), password: orUndefined(password) };
}

function sentinelLogin(parameters: URLSearchParams): Login {
  const username = orUndefined(parameters.get("sentinelUser") ?? "");
  const password = orUndefined(parameters.get("sentinelPassword") ?? "");
  if (username !== undefined && password === undefined)
    throw new RedisUrlError("its URL has a sentinelUser without a sentinelPassword");
  return { username, password };
}

function hostAndPort(text: string, defaultPort: number): HostAndPort {
  const [, host, port] = HOST.exec(text) ?? [];
  if (host === undefined || Number(port ?? defaultPort) > 65_535) throw new RedisUrlError(HOSTS);
  return { host: host.replaceAll(/[[\]]/g, ""), port: Number(port ?? defaultPort) };
}

function databaseIn(form: RedisAddress["form"], text = ""): number {
  // Redis Cluster specification: it has database 0 only.
  if (!/^[0-9]{0,4}$/.test(text) || (form === "cluster" && Number(text) > 0))
    throw new RedisUrlError("its URL's database must be a number, and a Cluster has none but 0");
  return Number(text);
}

function authorities(tls: boolean, ca: string | null): string | undefined {
  if (ca === null) return undefined;
  if (!tls) throw new RedisUrlError("its URL has a ca, which is for rediss only");
  if (!ca.startsWith("/")) throw new RedisUrlError("its URL's ca must be an absolute path");
  return ca;
}

function replicasIn(text: string | null): number {
  if (text !== null && !/^[0-5]$/.test(text)) throw new RedisUrlError("its URL's replicas must be 0 to 5");
  return Number(text ?? 0);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RedisUrlError("its URL has a % that is not part of an escape such as %40");
  }
}

function orUndefined(text: string): string | undefined {
  return text === "" ? undefined : text;
}
