import type { IncomingMessage, ServerResponse } from "node:http";
import type { ErrorRequestHandler, Request, RequestHandler, Response } from "express";
import { Refusal, asRefusal, reason } from "../flow/errors.ts";
import type { Log } from "../flow/ports.ts";
import { RateLimited } from "../flow/rate-limit.ts";
import { addressOf, requestIdOf } from "./guard.ts";
import { noteRefusal, routeOf } from "./requests.ts";
import type { Pages } from "./pages.ts";

/** The page of a refusal, for the authorization server's own errors. */
export function refusalPage(pages: Pages): (refusal: Refusal, req: IncomingMessage, res: ServerResponse) => string {
  return (refusal, _req, res) => pages.refusal({ code: refusal.code, requestId: requestIdOf(res) });
}

/** What nobody answered. */
export const notFound: RequestHandler = () => {
  throw new Refusal("not_found", "no route");
};

/**
 * The end of every page that fails: logs it, and shows its sentence, what to do and the request ID. What nobody expected
 * is logged with its place in the code and shown as `internal_error`.
 */
export function showRefusal(pages: Pages, log: Log): ErrorRequestHandler {
  const page = refusalPage(pages);
  return (error: unknown, req, res, next) => {
    const refusal = refusalOf(error);
    logRefusal(log, refusal, req, res);
    if (res.headersSent) {
      // What is half written is cut off. What has ended is left alone: express-session reports a failed save that late.
      if (!res.writableEnded) next(error);
      return;
    }
    const { status } = reason(refusal.code);
    tellWhenToRetry(res, refusal);
    res
      .status(status)
      .type("html")
      .send(page(refusal, req, res));
  };
}

/** What went wrong, as a Refusal: a request that Express or a body parser could not read is the sender's fault (http-errors has its status). */
export function refusalOf(error: unknown): Refusal {
  const status = error instanceof Error && "status" in error ? error.status : undefined;
  if (typeof status === "number" && status >= 400 && status < 500) {
    return new Refusal("request_malformed", "the request could not be read", { cause: error });
  }
  return asRefusal(error);
}

/** Seconds after which a part that is down may be back. */
const BACK_AFTER = 5;

/** RFC 9110, 10.2.3: when another try is worth it, where that is known. */
export function tellWhenToRetry(res: Response, refusal: Refusal): void {
  if (refusal instanceof RateLimited) res.set("retry-after", String(refusal.retryAfterSeconds));
  else if (reason(refusal.code).status === 503) res.set("retry-after", String(BACK_AFTER));
}

/** Also counts it. The log has the route's pattern, not the path that was asked for: anything can stand there. */
export function logRefusal(log: Log, refusal: Refusal, req: Request, res: Response): void {
  noteRefusal(res, refusal.code);
  const fields = {
    requestId: requestIdOf(res),
    code: refusal.code,
    method: req.method,
    route: routeOf(req),
    address: addressOf(req),
  };
  const { message } = refusal;
  if (refusal.code === "internal_error") log.error({ ...fields, err: refusal.cause ?? refusal }, message);
  else if (reason(refusal.code).status >= 500) log.warn(fields, message);
  else log.info(fields, message);
}
