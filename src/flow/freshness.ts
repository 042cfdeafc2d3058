import { Refusal } from "./errors.ts";
import type { Identity } from "./identity.ts";

/** How long what a sign-in said is relied on. */
export interface FreshnessSettings {
  readonly signInMaxAgeSeconds: number;
  /** By provider ID; a provider that is no longer configured has none. */
  readonly claimsMaxAgeSeconds: Readonly<Record<string, number>>;
}

/**
 * The identity with what its provider said at `notBefore` (epoch milliseconds) or later, asking it where nobody has
 * since. Rejects with a Refusal: `claims_expired` where there is nothing to ask with, `sign_in_revoked` where the
 * provider has ended the sign-in, `idp_*`, `refresh_under_way`, and whatever a sign-in with the new claims would meet.
 */
export type RefreshClaims = (identity: Identity, notBefore: number) => Promise<Identity>;

export interface FreshnessPorts {
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly refreshClaims: RefreshClaims;
}

/**
 * Law 6: the identity as it can be relied on now. Past `claimsMaxAge` its provider is asked again, fresh claims or
 * nothing; past `signInMaxAge` only the person can help: Refusal `sign_in_expired`. Other Refusals as of
 * {@link RefreshClaims}.
 */
export async function freshIdentity(
  ports: FreshnessPorts,
  settings: FreshnessSettings,
  identity: Identity,
): Promise<Identity> {
  const now = ports.now();
  const { provider, signedInAt } = identity;
  // Own properties only: a provider could be named like one that every object has ("constructor").
  const claimsMaxAge = Object.hasOwn(settings.claimsMaxAgeSeconds, provider)
    ? settings.claimsMaxAgeSeconds[provider]
    : undefined;
  if (claimsMaxAge === undefined) throw new Refusal("sign_in_expired", "the provider is no longer configured");
  // Asked so that a time which is no number is too old as well.
  if (!(now - signedInAt <= settings.signInMaxAgeSeconds * 1000)) {
    throw new Refusal("sign_in_expired", "the sign-in is older than signInMaxAge");
  }
  const notBefore = now - claimsMaxAge * 1000;
  if (identity.claimsAt >= notBefore) return identity;
  const fresh = await ports.refreshClaims(identity, notBefore);
  requireSamePerson(identity, fresh);
  if (!(fresh.claimsAt >= notBefore))
    throw new Refusal("claims_expired", "what came as fresh claims is too old as well");
  return fresh;
}

/** Throws `identity_changed` unless both are one person under one email: a new sign-in records who it is now. */
export function requireSamePerson(identity: Identity, fresh: Identity): void {
  const { provider, directory, subject, email } = fresh;
  if (provider !== identity.provider || directory !== identity.directory || subject !== identity.subject) {
    throw new Refusal("identity_changed", "the fresh claims are another person's");
  }
  if (email !== identity.email) throw new Refusal("identity_changed", "the fresh claims have another email");
}
