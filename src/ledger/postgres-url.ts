import { readFileSync } from "node:fs";
import type { ClientConfig } from "pg";

/** Where PostgreSQL is and how it is talked to, in pg's words. */
export type PostgresAddress = Pick<ClientConfig, "host" | "port" | "user" | "password" | "database" | "ssl">;

/**
 * The parts of `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…&sslrootcert=…`. Read here and not by pg, so that
 * a URL sets what is documented and nothing else (pg would let it lift our time limits). With `sslmode=verify-full` TLS
 * is demanded, and the server's certificate and name are checked; otherwise there is none. Throws an Error that says
 * what is wrong, without the URL.
 */
export function parsePostgresUrl(url: string): PostgresAddress {
  if (!URL.canParse(url)) throw new Error("the ledger's URL is not a URL");
  const { hostname, port, username, password, pathname, searchParams } = new URL(url);
  return {
    host: decodeURIComponent(hostname).replaceAll(/[[\]]/g, ""),
    port: port === "" ? 5432 : Number(port),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
    ssl: searchParams.get("sslmode") === "verify-full" && tls(searchParams.get("sslrootcert")),
  };
}

/** Node's own authorities, or only those in the file. */
function tls(authorities: string | null): { rejectUnauthorized: true; ca?: string } {
  return { rejectUnauthorized: true, ...(authorities !== null && { ca: readFileSync(authorities, "utf8") }) };
}
