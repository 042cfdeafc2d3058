import type { ErrorRequestHandler, Request, Response } from "express";
import { reason, type Refusal, type ReasonCode } from "../flow/errors.ts";
import type { Log } from "../flow/ports.ts";
import { MappingRefusal } from "../flow/tags.ts";
import type { Problem } from "./api-schema.ts";
import { requestIdOf } from "./guard.ts";
import { logRefusal, refusalOf, tellWhenToRetry } from "./refusals.ts";

/** The end of every API request that fails: logs it, and answers with a problem (RFC 9457). */
export function showProblem(baseUrl: string, log: Log): ErrorRequestHandler {
  return (error: unknown, req, res, next) => {
    const refusal = refusalOf(error);
    logRefusal(log, refusal, req, res);
    if (res.headersSent) {
      // Express then cuts the connection: half an answer must not look like a whole one.
      next(error);
      return;
    }
    const problem = problemOf(refusal, baseUrl, requestIdOf(res));
    if (problem.status === 401 || problem.code === "scope_missing")
      res.set("www-authenticate", challenge(refusal.code, req));
    tellWhenToRetry(res, refusal);
    send(res, problem);
  };
}

const CHALLENGES: Partial<Record<ReasonCode, string>> = {
  token_invalid: "invalid_token",
  scope_missing: "insufficient_scope",
};

/** The end of the authorization server's requests that are refused before they reach it, in its own form (RFC 6749, 5.2). */
export function showOAuthError(log: Log): ErrorRequestHandler {
  return (error: unknown, req, res, next) => {
    const refusal = refusalOf(error);
    logRefusal(log, refusal, req, res);
    if (res.headersSent) {
      next(error);
      return;
    }
    const { status, sentence } = reason(refusal.code);
    tellWhenToRetry(res, refusal);
    const code = status === 503 ? "temporarily_unavailable" : refusal.code;
    res.status(status).json({ error: code, error_description: sentence });
  };
}

/** The refusal in RFC 9457's form: `type` is an address that explains the code, `detail` what to do. */
function problemOf(refusal: Refusal, baseUrl: string, requestId: string): Problem {
  const { status, sentence, remedy } = reason(refusal.code);
  return {
    type: `${baseUrl}/problems/${refusal.code}`,
    title: sentence,
    status,
    code: refusal.code,
    // Whoever wrote the request needs to know what in it was wrong, and whoever keeps the directory, which tag.
    detail: status === 400 || refusal instanceof MappingRefusal ? `${refusal.message}. ${remedy}` : remedy,
    requestId,
    ...(refusal instanceof MappingRefusal && { trace: refusal.trace.map((step) => ({ ...step })) }),
  };
}

function send(res: Response, problem: Problem): void {
  res.status(problem.status).type("application/problem+json").send(JSON.stringify(problem));
}

/**
 * RFC 6750, 3: no error code for a request that brought no token at all. A token that is in order, whose sign-in is too
 * old, asks for another sign-in (RFC 9470, 3); one without the scope, for another token.
 */
function challenge(code: ReasonCode, req: Request): string {
  if (req.get("authorization") === undefined) return 'Bearer realm="rolecall"';
  const error = CHALLENGES[code] ?? "insufficient_user_authentication";
  return `Bearer realm="rolecall", error="${error}", error_description="${reason(code).sentence}"`;
}
