import type { Config } from "./config.ts";

const PARAMETERS = ["sslmode", "sslrootcert"];
const FORM = "must lead to a URL such as postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full";

/**
 * What is wrong with the ledger's URL, without any part of it; undefined where nothing is. Of libpq's TLS modes only
 * the one that checks the server's name is taken, and none at all; production must say which.
 */
export function ledgerUrlFault(url: string, environment: Config["environment"] | undefined): string | undefined {
  if (!URL.canParse(url)) return FORM;
  const { protocol, hostname, pathname, username, password, searchParams } = new URL(url);
  const parts = [hostname, pathname.slice(1), username];
  if (!["postgres:", "postgresql:"].includes(protocol) || parts.includes("")) return FORM;
  if (![...parts, password].every(isDecodable)) return FORM;
  const unknown = [...searchParams.keys()].find((name) => !PARAMETERS.includes(name));
  if (unknown !== undefined) return `its URL may have the parameters ${PARAMETERS.join(" and ")} only`;
  const mode = searchParams.get("sslmode") ?? (environment === "production" ? undefined : "disable");
  if (mode !== "verify-full" && mode !== "disable")
    return "its URL must say sslmode=verify-full (TLS, the server checked), or sslmode=disable where the network is trusted";
  const authorities = searchParams.get("sslrootcert");
  if (authorities !== null && !authorities.startsWith("/")) return "its URL's sslrootcert must be an absolute path";
  return undefined;
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
