import type { ProviderConfig } from "../config/config.ts";
import { Refusal } from "../flow/errors.ts";
import { claimAt, keepClaims, type Identity, type JsonValue } from "../flow/identity.ts";
import { boundClaims } from "./claim-bounds.ts";
import { type ClaimRules, type Claims, isToldElsewhere, refuse } from "./claim-rules.ts";
import { emailClaim, isOfDomain } from "./email.ts";
import { claimRulesOf } from "./kinds.ts";

/**
 * The person that a provider's claims tell of: verified email of a domain that the provider may speak for, no guest, no
 * other tenant, and of the claims those that `paths` read, complete. Pure; `now` is epoch milliseconds. The claims'
 * signature, issuer and audience are the caller's to have checked.
 *
 * Throws a Refusal, the first that applies: `subject_missing`, `tenant_mismatch`, `guest_refused`, `email_missing`,
 * `email_malformed`, `email_unverified`, `email_domain`, `groups_overage`, `claim_too_large`, `claim_type`.
 */
export function identityFromClaims(
  provider: ProviderConfig,
  claims: Record<string, JsonValue>,
  paths: Iterable<string>,
  now: number,
): Identity {
  const rules = claimRulesOf(provider.kind);
  const read = [...paths];
  const subject = rules.subject(claims);
  rules.refuseForeignAccount(provider, claims);
  const email = vouchedEmail(provider, rules, claims);
  for (const path of read) {
    if (isToldElsewhere(claims, path) || rules.leftOut(claims, path))
      refuse("groups_overage", `the provider left out entries of the claim ${path}`);
  }
  const kept = keepClaims(claims, read);
  boundClaims(kept);
  const { id, directory } = provider;
  return { provider: id, directory, subject, email, claims: kept, signedInAt: now, claimsAt: now };
}

/**
 * As much of the person as refused claims say, for the record of the refusal: never throws, proves nothing. The email
 * is there where it looks like one, verified or not.
 */
export function personInClaims(
  provider: ProviderConfig,
  claims: Record<string, JsonValue>,
): Pick<Identity, "provider" | "directory"> & Partial<Pick<Identity, "subject" | "email">> {
  const subject = unlessRefused(() => claimRulesOf(provider.kind).subject(claims));
  const email = unlessRefused(() => emailClaim(claims));
  return {
    provider: provider.id,
    directory: provider.directory,
    ...(subject !== undefined && { subject }),
    ...(email !== undefined && { email }),
  };
}

function vouchedEmail(provider: ProviderConfig, rules: ClaimRules, claims: Claims): string {
  const email = emailClaim(claims);
  const vouched = provider.protocol === "saml" ? isNotDenied(claims) : rules.emailVerified(claims);
  if (!vouched) refuse("email_unverified", "the provider does not vouch for the claim email");
  if (!isOfDomain(email, provider.emailDomains)) {
    refuse("email_domain", "the domain of the claim email is not one of the provider's emailDomains");
  }
  return email;
}

/** SAML has no word for it: the email domains that the configuration lists are the statement, unless one says otherwise. */
function isNotDenied(claims: Claims): boolean {
  const verified = claimAt(claims, "email_verified");
  return verified === undefined || verified === true || verified === "true";
}

function unlessRefused<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
