import type { Request, RequestHandler, Response } from "express";
import passport, { type AuthenticateOptions, type Strategy } from "passport";
import type { Config, ProviderConfig } from "../config/config.ts";
import { Refusal, asRefusal } from "../flow/errors.ts";
import type { Identity } from "../flow/identity.ts";
import type { Caller, LedgerPort, Log } from "../flow/ports.ts";
import { accountOf, RateLimited, type RateLimits } from "../flow/rate-limit.ts";
import {
  SignInRefusal,
  callerFacts,
  completeSignIn,
  personFacts,
  recordDeniedSignIn,
  recordRefusal,
} from "../flow/sign-in.ts";
import { allowFormPost, callerOf, localPath, requireSameOrigin } from "./guard.ts";
import type { Pages, PostPage } from "./pages.ts";
import { endSession, endSessionById, requireSecureChannel, startSession } from "./sessions.ts";
import { giveSignInCookie, signInCookie } from "./sign-in-cookie.ts";

/** The strategies, as passport holds them. */
type Providers = InstanceType<typeof passport.Passport>;

export interface SignInParts {
  readonly config: Config;
  readonly ledger: LedgerPort;
  readonly log: Log;
  readonly passport: Providers;
  readonly limits: RateLimits;
  readonly pages: Pages;
}

/** The strategies, each under its provider's ID. They never touch the session: that is {@link finishSignIn}'s. */
export function providersAsPassport(strategies: readonly Strategy[]): Providers {
  const authenticator = new passport.Passport();
  for (const strategy of strategies) authenticator.use(strategy);
  return authenticator;
}

/** `/login/:provider`: sends the browser to the provider, bound to this browser by a short-lived cookie. */
export function beginSignIn(parts: SignInParts): RequestHandler {
  const { config } = parts;
  return async (req, res) => {
    const provider = providerOf(config, req);
    requireSecureChannel(req, config.baseUrl);
    const browser = giveSignInCookie(req, res, config.baseUrl, provider.protocol);
    await recordingDenial(parts, callerOf(req, res), begin(parts, provider.id, req, res, browser));
  };
}

/**
 * `/login/:provider/callback` (OIDC) and `POST /login/:provider/acs` (SAML): the answer of the provider; on success a new
 * session, and back to where it began.
 */
export function finishSignIn(parts: SignInParts, protocol: ProviderConfig["protocol"]): RequestHandler {
  const { config, ledger } = parts;
  return async (req, res) => {
    const provider = providerOf(config, req, protocol);
    const caller = callerOf(req, res);
    const browser = signInCookie(req, config.baseUrl, protocol);
    const { identity, next, replaces } = await recordingDenial(
      parts,
      caller,
      finish(parts, provider.id, req, res, browser),
    );
    await requireSeldom(parts, identity, caller);
    const recorded = await completeSignIn(ledger, identity, caller);
    try {
      if (replaces !== undefined) await endSessionById(req, replaces);
      await startSession(req, recorded);
    } catch (error) {
      // The record says that the sign-in went through; that nobody got in by it has to stand there too.
      await recordDeniedSignIn(ledger, asRefusal(error), caller, identity);
      throw error;
    }
    res.redirect(303, localPath(next));
  };
}

/** Law 5 under a flood: the first refusal of each minute is recorded, the others are counted and logged. */
async function requireSeldom({ limits, ledger }: SignInParts, identity: Identity, caller: Caller): Promise<void> {
  try {
    await limits.account("sign_in_callback", accountOf(identity));
  } catch (error) {
    if (error instanceof RateLimited && error.first) await recordDeniedSignIn(ledger, error, caller, identity);
    throw error;
  }
}

/** `POST /logout`: ends the browser's session and nothing else; also when the record can't be written just now. */
export function signOut(parts: Pick<SignInParts, "config" | "ledger" | "log">): RequestHandler {
  const { config, ledger, log } = parts;
  return async (req, res) => {
    const { identity } = req.session;
    const caller = callerOf(req, res);
    const event = { type: "session.ended", ...callerFacts(caller), ...(identity && personFacts(identity)) } as const;
    try {
      requireSameOrigin(req, config.baseUrl);
      if (identity !== undefined) await endSession(req, res, config.baseUrl);
    } catch (error) {
      const reason = asRefusal(error).code;
      if (identity !== undefined) await recordRefusal(ledger, { ...event, outcome: "refused", reason });
      throw error;
    }
    try {
      if (identity !== undefined) await ledger.append({ ...event, outcome: "success" });
    } catch (error) {
      // Somebody who wants out gets out.
      log.error({ requestId: caller.requestId, code: asRefusal(error).code }, "the end of a session is not recorded");
    }
    res.redirect(303, "/?signed-out");
  };
}

/** What {@link finishSignIn} gets from a strategy that let somebody in. */
interface FinishedSignIn {
  readonly identity: Identity;
  readonly next: string;
  /** ID of a session that ends with this sign-in. */
  readonly replaces?: string | undefined;
}

/** Resolves when the browser was sent on its way: by the strategy, or by the form that it has made. */
function begin(parts: SignInParts, id: string, req: Request, res: Response, browser: string): Promise<void> {
  // Fixation: SAML's answer comes from another site, without the session's cookie, which then can't be ended by it.
  const replaces = req.session.identity === undefined ? {} : { replaces: req.sessionID };
  const options = { session: false, step: "begin", next: localPath(req.query["next"]), browser, ...replaces };
  return new Promise((resolve, reject) => {
    res.once("close", resolve);
    authenticate(parts, id, options, req, res, (error, form) => {
      if (form === undefined || !("action" in form)) {
        reject(asError(error));
        return;
      }
      allowFormPost(req, res, form.action);
      res.send(parts.pages.post(form));
    });
  });
}

function finish(
  parts: SignInParts,
  id: string,
  req: Request,
  res: Response,
  browser: string | undefined,
): Promise<FinishedSignIn> {
  return new Promise((resolve, reject) => {
    const options = { session: false, step: "finish", browser };
    authenticate(parts, id, options, req, res, (error, identity, info) => {
      if (identity === undefined || !("subject" in identity)) reject(asError(error));
      else resolve({ identity, next: info?.next ?? "/", replaces: info?.replaces });
    });
  });
}

function authenticate(
  parts: SignInParts,
  id: string,
  options: AuthenticateOptions,
  req: Request,
  res: Response,
  done: (error: unknown, answer?: Identity | PostPage, info?: { next?: string; replaces?: string }) => void,
): void {
  const handler = parts.passport.authenticate(id, options, done) as RequestHandler;
  void handler(req, res, done);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error("the strategy ended without an identity or an error");
}

/** A refusal that is tied to a sign-in pending in this browser is recorded once; any other is left to the log. */
async function recordingDenial<T>(parts: SignInParts, caller: Caller, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof SignInRefusal && error.about !== undefined) {
      await recordDeniedSignIn(parts.ledger, error, caller, error.about);
    }
    throw error;
  }
}

/** The provider that the address names; with `protocol`, one that speaks it. Refusal `not_found`. */
export function providerOf(config: Config, req: Request, protocol?: ProviderConfig["protocol"]): ProviderConfig {
  const provider = config.providers.find(({ id }) => id === req.params["provider"]);
  if (provider === undefined) throw new Refusal("not_found", "no provider has this ID");
  if (protocol !== undefined && provider.protocol !== protocol) throw new Refusal("not_found", `no ${protocol} here`);
  return provider;
}
