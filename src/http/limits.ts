import type { Request, RequestHandler } from "express";
import ipaddr from "ipaddr.js";
import type { Endpoint, RateLimits } from "../flow/rate-limit.ts";

/** Refuses an address that asks too often. Nothing of the request is read before, so such a refusal is tied to nobody. */
export function limitAddress(limits: RateLimits, endpoint: Endpoint): RequestHandler {
  return async (req, _res, next) => {
    await limits.address(endpoint, networkOf(req));
    next();
  };
}

/** As above, where a sign-in or an approval begins and will be kept for ten minutes: all of them together are bounded. */
export function limitBeginning(limits: RateLimits, endpoint: Endpoint): RequestHandler {
  return async (req, _res, next) => {
    await limits.address(endpoint, networkOf(req));
    await limits.signInUnderWay();
    next();
  };
}

/**
 * Whom a limit counts as one address. One household or office has a whole IPv6 network of 56 bits (RFC 6177, section
 * 2), and could ask from another address of it each time.
 */
export function networkOf(req: Request): string {
  if (req.ip === undefined || !ipaddr.isValid(req.ip)) return "unknown";
  const address = ipaddr.process(req.ip);
  if (address.kind() === "ipv4") return address.toString();
  return address.toByteArray().slice(0, 7).join(".");
}
