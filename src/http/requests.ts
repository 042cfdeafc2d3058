import { randomUUID } from "node:crypto";
import type { Request, RequestHandler, Response } from "express";
import type { ReasonCode } from "../flow/errors.ts";
import type { Log } from "../flow/ports.ts";
import { withinRequest } from "../flow/request-id.ts";

/** One answered request, without anything that its sender chose. */
export interface AnsweredRequest {
  readonly method: string;
  /** The route's pattern, never the path itself. */
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
  /** Why it was refused by a page or the API; undefined: it was not. */
  readonly refusal: ReasonCode | undefined;
}

/** What the web side tells of itself, and the page on which all of the broker's figures stand. */
export interface WebMetrics {
  answered(request: AnsweredRequest): void;
  exposition(): Promise<{ readonly contentType: string; readonly text: string }>;
}

/** A request as traces follow it. */
export interface RequestTrace {
  /** Runs `work`; the steps of all that it starts belong to this request. */
  run(work: () => void): void;
  end(answered: AnsweredRequest): void;
}

export interface WebTraces {
  /** `traceparent`: what the sender calls this request (W3C Trace Context), in whatever form they sent it. */
  begin(request: { readonly requestId: string; readonly traceparent: string | undefined }): RequestTrace;
}

interface Observers {
  readonly metrics: Pick<WebMetrics, "answered">;
  readonly traces: WebTraces;
  readonly log: Log;
}

/**
 * Gives every request its ID, which the answer (`X-Request-Id`), the log, the trace and the ledger share, and tells of the answer
 * once it is whole, or was cut off. An ID that the sender brings is not taken: the ledger has each ID's outcome once,
 * so whoever chose one could take it from somebody else.
 */
export function followRequests({ metrics, traces, log }: Observers): RequestHandler {
  return (req, res, next) => {
    const begun = performance.now();
    const requestId = randomUUID();
    res.set("x-request-id", requestId);
    const trace = PROBES.includes(req.path)
      ? UNTRACED
      : traces.begin({ requestId, traceparent: req.get("traceparent") });
    res.once("close", () => {
      const answered = answeredRequest(req, res, performance.now() - begun);
      metrics.answered(answered);
      trace.end(answered);
      logAnswer(log, requestId, answered);
    });
    withinRequest(requestId, () => {
      trace.run(next);
    });
  };
}

/** Asked every few seconds by machines: neither in the log nor in the traces. */
const PROBES = ["/healthz", "/readyz", "/metrics"];

const UNTRACED: RequestTrace = {
  run: (work) => {
    work();
  },
  end: () => undefined,
};

/** For {@link followRequests}: why this request is refused. */
export function noteRefusal(res: Response, code: ReasonCode): void {
  res.locals["refusal"] = code;
}

function answeredRequest(req: Request, res: Response, milliseconds: number): AnsweredRequest {
  return {
    method: req.method,
    route: routeOf(req),
    // 499, as nginx has it: the caller went away before there was an answer.
    status: res.headersSent ? res.statusCode : 499,
    seconds: milliseconds / 1000,
    refusal: res.locals["refusal"] as ReasonCode | undefined,
  };
}

function logAnswer(log: Log, requestId: string, { method, route, status, seconds, refusal }: AnsweredRequest): void {
  if (PROBES.includes(route)) return;
  const ms = Math.round(seconds * 10_000) / 10;
  log.info({ requestId, method, route, status, ms, code: refusal }, "answered");
}

/** Those of the authorization server, which has a router of its own. */
const OAUTH_ROUTES = ["/oauth/auth", "/oauth/token", "/oauth/token/revocation", "/oauth/jwks"];
const OAUTH_DISCOVERY = "/oauth/.well-known/openid-configuration";

/** The route's pattern. What matched none is one word, so that nobody makes figures grow by asking for odd paths. */
export function routeOf(req: Request): string {
  const route = req.route as { path: unknown } | undefined;
  if (typeof route?.path === "string") return route.path;
  const path = req.originalUrl.replace(/\?.*/s, "");
  if (OAUTH_ROUTES.includes(path) || path === OAUTH_DISCOVERY) return path;
  if (/^\/oauth\/auth\/[^/]+$/.test(path)) return "/oauth/auth/:uid";
  if (path.startsWith("/assets/")) return "/assets";
  return "none";
}
