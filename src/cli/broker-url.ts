import { CommandFailure } from "./failure.ts";

/** Folder names are made of it, and file systems stop at 255 bytes. */
const LONGEST = 200;

/**
 * The broker's base URL without a slash at the end. https, or http where the broker is on this machine; no user name,
 * query or fragment. `source` says in the failure (exit code 2) where the text came from.
 */
export function parseBrokerUrl(text: string, source: string): string {
  const url = URL.parse(text);
  if (url === null) throw refuse(source, "is not a URL", `https://${text}`);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isLoopback(url.hostname))) {
    throw refuse(source, "must begin with https:// (http:// only for a broker on this machine)");
  }
  if (url.username !== "" || url.password !== "") throw refuse(source, "must not hold a user name or password");
  if (url.search !== "" || url.hash !== "") throw refuse(source, "must not hold a query or fragment");
  const broker = `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
  if (broker.length > LONGEST) throw refuse(source, `must have at most ${LONGEST} characters`);
  return broker;
}

/** RFC 8252, section 8.3: loopback traffic never leaves the machine. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}

function refuse(source: string, rule: string, example = "https://rolecall.acme.example"): CommandFailure {
  return new CommandFailure(`${source} ${rule}`, { hint: `a broker's address looks like ${example}`, exitCode: 2 });
}
