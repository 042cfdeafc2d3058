import type { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { errors, type Configuration, type KoaContextWithOIDC, type Provider } from "oidc-provider";
import { Refusal, asRefusal, reason } from "../flow/errors.ts";
import type { LogFields } from "../flow/log-fields.ts";
import type { Log } from "../flow/ports.ts";
import type { RateLimited } from "../flow/rate-limit.ts";

/** Makes the HTML of a refusal, for a browser. */
export type ErrorPage = (refusal: Refusal, req: IncomingMessage, res: ServerResponse) => string;

/** What a browser is shown where its request can't be answered by a redirect to the command line. */
export function renderError(errorPage: ErrorPage | undefined): Configuration["renderError"] {
  return (ctx, out, error) => {
    const refusal = refusalOf(out, error);
    const { status, sentence, remedy } = reason(refusal.code);
    ctx.status = status;
    ctx.set("cache-control", "no-store");
    ctx.set("x-content-type-options", "nosniff");
    if (errorPage === undefined) {
      ctx.type = "text/plain";
      ctx.body = `${sentence}\n${remedy}\n(${refusal.code}: ${refusal.message})\n`;
    } else {
      ctx.type = "text/html";
      ctx.body = errorPage(refusal, ctx.req, ctx.res);
    }
  };
}

/** Writes every refusal and failure to the log, and answers 503 instead of 500 while the store or the ledger is away. */
export function watchFailures(provider: Provider, log: Log): void {
  const refused = (ctx: KoaContextWithOIDC, error: errors.OIDCProviderError): void => {
    const { error: code, error_detail: detail } = error;
    log.info({ ...placeOf(ctx), error: code, detail }, "an oauth request was refused");
  };
  provider.on("authorization.error", refused);
  provider.on("grant.error", refused);
  provider.on("revocation.error", refused);
  provider.on("server_error", (ctx, error) => {
    log.error({ ...placeOf(ctx), err: error }, "the authorization server failed");
    const { code } = asRefusal(error);
    if (code === "store_unavailable" || code === "ledger_unavailable") answerUnavailable(ctx, code);
  });
  // What Koa itself could not answer; without a listener it would write to the console.
  const koa: EventEmitter = provider;
  koa.on("error", (error: Error) => {
    log.error({ err: error }, "the authorization server failed");
  });
}

/** The request's ID is what people are shown and asked for. */
function placeOf(ctx: KoaContextWithOIDC): Pick<LogFields, "requestId" | "route"> {
  return { requestId: String(ctx.res.getHeader("x-request-id")), route: ctx.oidc.route };
}

/** The refusal of an account that asks too often, as the authorization server says it, with the time to wait. */
export function asOAuthError(ctx: KoaContextWithOIDC, refusal: RateLimited): errors.OIDCProviderError {
  const { status, sentence } = reason(refusal.code);
  ctx.set("retry-after", String(refusal.retryAfterSeconds));
  const error = new errors.OIDCProviderError(status, refusal.code);
  error.error_description = sentence;
  return error;
}

/** The grant counts no more, and why, as the authorization server says it (RFC 6749, 5.2). */
export function asInvalidGrant({ code }: Refusal): errors.OIDCProviderError {
  const error = new errors.OIDCProviderError(400, "invalid_grant");
  error.error_description = reason(code).sentence;
  return error;
}

/** RFC 6749, 4.1.2.1, has the code; RFC 9110, 15.6.4, the status. */
function answerUnavailable(ctx: KoaContextWithOIDC, code: "store_unavailable" | "ledger_unavailable"): void {
  const { status, sentence } = reason(code);
  ctx.status = status;
  ctx.set("retry-after", "5");
  ctx.body = { error: "temporarily_unavailable", error_description: sentence };
}

function refusalOf(
  out: { readonly error: string; readonly error_description?: string | undefined },
  error: Error,
): Refusal {
  if (error instanceof errors.SessionNotFound) {
    return new Refusal("approval_unknown", "no approval is pending in this browser");
  }
  if (error instanceof errors.OIDCProviderError) {
    return new Refusal("authorization_invalid", out.error_description ?? out.error, { cause: error });
  }
  return asRefusal(error);
}
