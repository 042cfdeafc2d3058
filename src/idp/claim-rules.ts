import type { ProviderConfig } from "../config/config.ts";
import { Refusal, type ReasonCode } from "../flow/errors.ts";
import { claimAt, type JsonValue } from "../flow/identity.ts";

/** A person's claims as the provider sent them: nothing about their types can be relied on. */
export type Claims = Readonly<Record<string, JsonValue>>;

/** What one kind of provider does differently. All pure; `throws` means a Refusal. */
export interface ClaimRules {
  /** The person's ID, unique in the provider's directory and never given to another; throws `subject_missing`. */
  readonly subject: (claims: Claims) => string;
  /** Throws where the account is not the company's own: a guest's, or another tenant's or organization's. */
  readonly refuseForeignAccount: (provider: ProviderConfig, claims: Claims) => void;
  /** True where the provider vouches that the email is this person's. */
  readonly emailVerified: (claims: Claims) => boolean;
  /** True where the provider left out, or may have cut, the claim that `path` reads. */
  readonly leftOut: (claims: Claims, path: string) => boolean;
  /** True where the userinfo endpoint may tell what the ID token does not. */
  readonly userinfoTellsMore: boolean;
}

/**
 * The claim `name` where it can be an identifier: text of 1-255 characters (OpenID Connect Core 2 bounds `sub` so)
 * with nothing invisible in it. Throws `subject_missing` otherwise, since an ID that can't be told apart is none.
 */
export function identifier(claims: Claims, name: string): string {
  const value = claimAt(claims, name);
  if (value === undefined) refuse("subject_missing", `the claim ${name} is missing`);
  if (typeof value !== "string" || value.length > 255 || !value.isWellFormed() || !isVisible(value)) {
    refuse("subject_missing", `the claim ${name} must be text of 1-255 visible characters`);
  }
  return value;
}

/** True where every character shows: fillers, joiners and variation selectors are letters or marks, and don't. */
export function isVisible(text: string): boolean {
  return /^[^\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]+$/u.test(text);
}

/** The text of the claim `name`; undefined where it is absent or anything else. */
export function text(claims: Claims, name: string): string | undefined {
  const value = claimAt(claims, name);
  return typeof value === "string" ? value : undefined;
}

/** OpenID Connect Core 5.1: a boolean, so that "true" and 1 are not it. */
export function emailVerifiedClaim(claims: Claims): boolean {
  return claimAt(claims, "email_verified") === true;
}

/** True where `path` reads the claim `name` or a part of it: the name itself, or a JSON pointer into it (RFC 6901). */
export function readsClaim(path: string, name: string): boolean {
  const pointer = `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
  return path === name || path === pointer || path.startsWith(`${pointer}/`);
}

/**
 * True where `_claim_names` says that what `path` reads is told elsewhere (OpenID Connect Core 5.6.2); nobody asks
 * there. One of another shape may mean any claim.
 */
export function isToldElsewhere(claims: Claims, path: string): boolean {
  const marked = claimAt(claims, "_claim_names");
  if (marked === undefined) return false;
  if (typeof marked !== "object" || Array.isArray(marked)) return true;
  return Object.keys(marked ?? {}).some((name) => readsClaim(path, name));
}

export function refuse(code: ReasonCode, message: string): never {
  throw new Refusal(code, message);
}
