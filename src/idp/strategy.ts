import type { Request } from "express";
import type { AuthenticateOptions } from "passport";
import { Strategy } from "passport-strategy";
import type { OidcProvider, ProviderConfig } from "../config/config.ts";
import { asRefusal, Refusal } from "../flow/errors.ts";
import type { Identity } from "../flow/identity.ts";
import { SignInRefusal } from "../flow/sign-in.ts";
import { identityFromClaims, personInClaims } from "./identity.ts";
import type { LoginStates, PendingSignIn } from "./login-state.ts";
import type { OidcClient, PendingAuthentication } from "./oidc.ts";
import type { ProviderGrants } from "./provider-grants.ts";

type Remembered = Omit<PendingAuthentication, "state">;

export interface OidcStrategyParts {
  readonly client: Pick<OidcClient, "begin" | "finish">;
  readonly provider: OidcProvider;
  readonly loginStates: LoginStates;
  readonly grants: Pick<ProviderGrants, "hold">;
  /** The claims that rules read for this provider now: the mapping may be reloaded. */
  readonly paths: () => Iterable<string>;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/** What `/login/:provider` and its callback pass to `passport.authenticate`. */
export type SignInOptions = AuthenticateOptions &
  (
    | {
        readonly step: "begin";
        /** Local path to go to afterwards, checked by the caller. */
        readonly next: string;
        /** The secret in the browser's short-lived sign-in cookie. */
        readonly browser: string;
        /** ID of the session that the browser has, for answers to which its cookie does not come along. */
        readonly replaces?: string;
      }
    | { readonly step: "finish"; readonly browser: string | undefined }
  );

/** What comes with the Identity on success. */
export interface SignInInfo {
  /** Local path to go to. */
  readonly next: string;
  /** ID of the session that the browser had when it began. */
  readonly replaces?: string;
}

/**
 * Passport's face of one OIDC provider; `name` is the provider's ID. `begin` redirects, or errs with a Refusal. `finish`
 * succeeds with (Identity, SignInInfo), or errs with a {@link SignInRefusal}, whose `about` is undefined unless the
 * answer was tied to a sign-in pending in this browser.
 */
export class OidcStrategy extends Strategy {
  readonly name: string;
  // Passport calls through Object.create(strategy), on which #private members don't exist.
  private readonly parts: OidcStrategyParts;

  constructor(parts: OidcStrategyParts) {
    super();
    this.name = parts.provider.id;
    this.parts = parts;
  }

  override authenticate(req: Request, options: SignInOptions): void {
    if (options.step === "begin") {
      beginSignIn(this.parts, options).then(
        (url) => {
          this.redirect(url);
        },
        (error: unknown) => {
          this.error(asRefusal(error));
        },
      );
    } else {
      finishSignIn(this.parts, queryOf(req), options.browser).then(
        ({ identity, next }) => {
          this.success(identity, { next } satisfies SignInInfo);
        },
        (error: unknown) => {
          this.error(error as SignInRefusal);
        },
      );
    }
  }
}

/** The address at the provider, once the sign-in that it belongs to is remembered. */
async function beginSignIn(
  parts: OidcStrategyParts,
  { next, browser }: { next: string; browser: string },
): Promise<string> {
  const { url, pending } = await parts.client.begin();
  const { state, ...remembered } = pending;
  await parts.loginStates.add({ state, provider: parts.provider.id, next, browser }, remembered);
  return url;
}

/**
 * In order: the answer is tied to a sign-in of this browser, which ends there; it came to the callback of the provider
 * that was asked; the provider's claims; the Identity; the refresh token held, where there is one. Rejects with a SignInRefusal that says how far it came.
 */
async function finishSignIn(
  parts: OidcStrategyParts,
  callback: URLSearchParams,
  browser: string | undefined,
): Promise<{ identity: Identity; next: string }> {
  const { provider, client, grants, now } = parts;
  let about: SignInRefusal["about"];
  try {
    const [state = "", ...more] = callback.getAll("state");
    const pending = await parts.loginStates.take<Remembered>(more.length === 0 ? state : "", browser);
    about = { provider: pending.provider };
    requireSameProvider(provider, pending);
    about = { provider: provider.id, directory: provider.directory };
    const paths = [...parts.paths()];
    const { claims, grant } = await client.finish(callback, { state, ...pending }, paths);
    about = personInClaims(provider, claims);
    const identity = identityFromClaims(provider, claims, paths, now());
    return { identity: grant ? await grants.hold(identity, grant) : identity, next: pending.next };
  } catch (error) {
    throw new SignInRefusal(asRefusal(error), about);
  }
}

/** Mix-up (RFC 9700 4.4): the code of one provider must never be shown to another. */
export function requireSameProvider(provider: ProviderConfig, pending: PendingSignIn): void {
  if (pending.provider !== provider.id) {
    throw new Refusal("issuer_mismatch", "the answer came to the callback of another provider than the one asked");
  }
}

/** As it arrived: express's own parser makes lists and objects of names given twice. */
function queryOf(req: Request): URLSearchParams {
  const query = req.originalUrl.indexOf("?");
  return new URLSearchParams(query < 0 ? "" : req.originalUrl.slice(query));
}
