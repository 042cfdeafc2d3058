import type { Request, RequestHandler, Response } from "express";
import { Refusal, type ReasonCode } from "../flow/errors.ts";
import { isHttps } from "./guard.ts";

/** What the web side tells of itself, and the page on which all of the broker's figures stand. */
export interface WebMetrics {
  answered(request: {
    readonly method: string;
    readonly route: string;
    readonly status: number;
    readonly seconds: number;
    readonly refusal: ReasonCode | undefined;
  }): void;
  exposition(): Promise<{ readonly contentType: string; readonly text: string }>;
}

/** Tells `metrics` of every answer once it is whole, or was cut off. */
export function countRequests(metrics: WebMetrics): RequestHandler {
  return (req, res, next) => {
    const begun = performance.now();
    res.once("close", () => {
      metrics.answered({
        method: req.method,
        route: routeOf(req),
        // 499, as nginx has it: the caller went away before there was an answer.
        status: res.headersSent ? res.statusCode : 499,
        seconds: (performance.now() - begun) / 1000,
        refusal: res.locals["refusal"] as ReasonCode | undefined,
      });
    });
    next();
  };
}

/** For {@link countRequests}: why this request is refused. */
export function noteRefusal(res: Response, code: ReasonCode): void {
  res.locals["refusal"] = code;
}

/** Those of the authorization server, which has a router of its own. */
const OAUTH_ROUTES = ["/oauth/auth", "/oauth/token", "/oauth/token/revocation", "/oauth/jwks"];
const OAUTH_DISCOVERY = "/oauth/.well-known/openid-configuration";

/** The route's pattern. What matched none is one word, so that nobody makes figures grow by asking for odd paths. */
function routeOf(req: Request): string {
  const route = req.route as { path: unknown } | undefined;
  if (typeof route?.path === "string") return route.path;
  const path = req.originalUrl.replace(/\?.*/s, "");
  if (OAUTH_ROUTES.includes(path) || path === OAUTH_DISCOVERY) return path;
  if (/^\/oauth\/auth\/[^/]+$/.test(path)) return "/oauth/auth/:uid";
  if (path.startsWith("/assets/")) return "/assets";
  return "none";
}

/** Headers by which a proxy says that it passes somebody else's request on (RFC 7239, RFC 9110 7.6.3, and custom). */
const FORWARDED = ["forwarded", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip"];

/**
 * `/metrics` for a scraper on the broker's own network. Whoever comes through the proxy, or by the public name, finds
 * nothing here: the figures hold no secret and no person, but they are the operators'.
 */
export function exposeMetrics(metrics: WebMetrics, baseUrl: string): RequestHandler {
  const publicHost = new URL(baseUrl).host;
  return async (req, res) => {
    const proxied = FORWARDED.some((name) => req.headers[name] !== undefined);
    if (proxied || (isHttps(baseUrl) && req.headers.host === publicHost)) {
      throw new Refusal("not_found", "the figures are not for requests that came through a proxy");
    }
    const { contentType, text } = await metrics.exposition();
    res.set("content-type", contentType).send(text);
  };
}
