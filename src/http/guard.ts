import type { ServerResponse } from "node:http";
import type { Request, RequestHandler, Response } from "express";
import helmet from "helmet";
import { Refusal } from "../flow/errors.ts";
import type { Caller } from "../flow/ports.ts";

/** Longer user agents are cut before they go into the record: nobody needs more to tell a browser. */
const USER_AGENT_LENGTH = 256;

/** No address is longer, and behind a proxy it is text that a stranger may have sent. */
const ADDRESS_LENGTH = 64;

/** The request's ID (a UUID), which `followRequests` gave it. */
export function requestIdOf(res: ServerResponse): string {
  return String(res.getHeader("x-request-id"));
}

/** Where the request came from: the proxy's word as far as `trustProxy` goes, and not sure to be an address. */
export function addressOf(req: Request): string | undefined {
  return req.ip?.slice(0, ADDRESS_LENGTH);
}

/** Where this browser's request came from, for the record. */
export function callerOf(req: Request, res: Response): Caller {
  const userAgent = req.get("user-agent")?.slice(0, USER_AGENT_LENGTH);
  const address = addressOf(req);
  return {
    requestId: requestIdOf(res),
    client: "browser",
    ...(address !== undefined && { address }),
    ...(userAgent !== undefined && { userAgent }),
  };
}

/** The headers of every answer (OWASP ASVS 5.0, 3.4). Nothing is cached unless a route says otherwise. */
export function securityHeaders(baseUrl: string): RequestHandler[] {
  const https = isHttps(baseUrl);
  return [
    helmet({
      contentSecurityPolicy: { useDefaults: false, directives: policy(["'self'"]) },
      crossOriginEmbedderPolicy: true,
      // With no-referrer a browser would send "Origin: null" with our own forms, and requireSameOrigin refuses that.
      referrerPolicy: { policy: "same-origin" },
      xFrameOptions: { action: "deny" },
      strictTransportSecurity: https && { maxAge: 31_536_000, includeSubDomains: true },
    }),
    (_req, res, next) => {
      res.set("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=(), clipboard-read=()");
      res.set("cache-control", "no-store");
      next();
    },
  ];
}

/**
 * Lets a form of this one page end at `redirectUri`: Chromium applies form-action to redirects too. CSP has no way to
 * write an IPv6 address (CSP Level 3, host-source), so `[::1]` needs the whole scheme.
 */
export function allowFormRedirect(req: Request, res: Response, redirectUri: string): void {
  const target = new URL(redirectUri);
  const source = target.hostname.startsWith("[") ? target.protocol : target.origin;
  const set = helmet.contentSecurityPolicy({ useDefaults: false, directives: policy(["'self'", source]) });
  set(req, res, () => undefined);
}

/**
 * Lets the form of this one page be posted to another site, and on from there: Chromium applies form-action to redirects
 * too, and a company's sign-in page may be at a third. So it is the scheme that is allowed.
 */
export function allowFormPost(req: Request, res: Response, action: string): void {
  const directives = policy(["'self'", new URL(action).protocol]);
  helmet.contentSecurityPolicy({ useDefaults: false, directives })(req, res, () => undefined);
}

function policy(formAction: readonly string[]): Record<string, readonly string[]> {
  return {
    "default-src": ["'none'"],
    "style-src": ["'self'"],
    "img-src": ["'self'"],
    "script-src": ["'self'"],
    "form-action": formAction,
    "frame-ancestors": ["'none'"],
    "base-uri": ["'none'"],
  };
}

/**
 * Returns where the request is this site's own; throws Refusal `cross_site_request` otherwise. By Sec-Fetch-Site, which
 * no page can forge, and by Origin where a browser doesn't send it. A sibling host of one domain ("same-site") is
 * another site here: it sends our SameSite=Lax cookies along.
 */
export function requireSameOrigin(req: Request, baseUrl: string): void {
  const site = req.get("sec-fetch-site");
  const origin = req.get("origin");
  const own = site === undefined ? origin === new URL(baseUrl).origin : site === "same-origin";
  if (!own) throw new Refusal("cross_site_request", "neither Sec-Fetch-Site nor Origin names this site");
}

/** Segments of unreserved characters (RFC 3986, 2.3) that don't begin with a dot, and a query without encodings. */
const LOCAL_PATH = /^\/(?:[\w~-][\w.~-]*(?:\/[\w~-][\w.~-]*)*)?(?:\?[\w.~=&-]+)?$/;

/** `next` where it is the address of a page here, and `/` for anything else: no host, no encoding, no backslash. */
export function localPath(next: unknown): string {
  return typeof next === "string" && next.length <= 512 && LOCAL_PATH.test(next) ? next : "/";
}

/** Whether the broker is reached by https, so that cookies can be Secure. */
export function isHttps(baseUrl: string): boolean {
  return baseUrl.startsWith("https:");
}
