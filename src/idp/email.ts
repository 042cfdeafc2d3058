import { claimAt } from "../flow/identity.ts";
import { type Claims, isVisible, refuse } from "./claim-rules.ts";

/** RFC 5321 4.5.3.1: 64 octets before the @, 254 for all of it. */
const MAX_LOCAL = 64;
const MAX_EMAIL = 254;

/**
 * Dot-separated atoms (RFC 5322 3.2.3), with letters of every script (RFC 6532), and something after the one `@`. No
 * quoted form, nothing invisible. Whether the domain is one that counts is not for the format to say.
 */
const EMAIL = /^[\p{L}\p{M}\p{N}!#$%&'*+/=?^_`{|}~-]+(?:\.[\p{L}\p{M}\p{N}!#$%&'*+/=?^_`{|}~-]+)*@[^@]+$/u;

/** The claim `email`, as sent. Throws `email_missing`, or `email_malformed` where it could not be anybody's address. */
export function emailClaim(claims: Claims): string {
  const email = claimAt(claims, "email");
  if (email === undefined || email === "") refuse("email_missing", "the claim email is missing");
  if (typeof email !== "string") refuse("email_malformed", "the claim email must be text");
  const fits = Buffer.byteLength(email) <= MAX_EMAIL && Buffer.byteLength(email.split("@", 1)[0] ?? "") <= MAX_LOCAL;
  if (!fits || !email.isWellFormed() || !isVisible(email) || !EMAIL.test(email)) {
    refuse("email_malformed", "the claim email must be one address, name@domain");
  }
  return email;
}

/**
 * True where the email's domain is one of `domains` (ASCII, lower case), letter by letter. Only ASCII is
 * folded: some other letters fold to ASCII ones (U+212A, the Kelvin sign), and no form of an IDN is taken for another.
 */
export function isOfDomain(email: string, domains: readonly string[]): boolean {
  const domain = email.slice(email.lastIndexOf("@") + 1);
  return /^[A-Za-z0-9.-]+$/.test(domain) && domains.includes(domain.toLowerCase());
}
