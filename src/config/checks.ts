import type { Readable } from "./shape.ts";

/** Takes one fault: the field's path, and what would be right. */
export type AddFault = (path: string, message: string) => void;

/** Law 6: the docs promise a bound for somebody who left, so there is one whatever the file says. */
const LONGEST_AGE = 7 * 24 * 60 * 60;

/** Seconds of a duration as the schema takes it: `30m`, `12h`. */
export function seconds(duration: string): number {
  const unit = { s: 1, m: 60, h: 3600, d: 86_400 }[duration.at(-1) as "s" | "m" | "h" | "d"];
  return Number(duration.slice(0, -1)) * unit;
}

export function checkAge(path: string, age: string | undefined, add: AddFault): void {
  if (age !== undefined && seconds(age) > LONGEST_AGE) add(path, "must be 7d at most");
}

/** Plain http is for this machine only, and in production neither is taken. */
export function checkHost(path: string, address: string, environment: Readable["environment"], add: AddFault): void {
  const url = new URL(address);
  if (url.username !== "" || url.password !== "") add(path, "must not hold a user name or password");
  if (environment === undefined) return;
  const loopback = isLoopback(url.hostname);
  if (environment === "production") {
    if (url.protocol !== "https:") add(path, "must be https in production");
    if (loopback) add(path, "must not be this machine (a loopback host) in production");
  } else if (url.protocol !== "https:" && !loopback) {
    add(path, "must be https, or a loopback host (localhost, 127.0.0.1, [::1])");
  }
}

/** After WHATWG URL parsing, which writes every form of an IPv4 address alike. */
function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/\.$/, "");
  return (
    ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"].includes(host) ||
    host.endsWith(".localhost") ||
    /^(?:127\.[0-9.]+|0\.0\.0\.0)$/.test(host) ||
    /^\[(?:::1?|::ffff:(?:7f[0-9a-f]{2}:[0-9a-f]{1,4}|0:0))\]$/.test(host)
  );
}
