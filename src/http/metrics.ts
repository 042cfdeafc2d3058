import type { RequestHandler } from "express";
import { Refusal } from "../flow/errors.ts";
import { isHttps } from "./guard.ts";
import type { WebMetrics } from "./requests.ts";

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
