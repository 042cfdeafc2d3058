import { createHash } from "node:crypto";

/** RoleSessionName: 2-64 characters, ASCII (AWS STS API reference, AssumeRoleWithWebIdentity). */
const ROLE_SESSION_NAME = /^[\w+=,.@-]{2,64}$/;

/** 128 bits in base32 take 26 characters; with the hyphen, 37 are left of AWS's 64 for a part that people can read. */
const READABLE_LENGTH = 37;

/**
 * The role session name that a person would have: the email, lower-cased, where AWS takes it as it is; otherwise
 * a readable part and 128 bits of hash over (directory, subject), with no `@`, so that it can never be anybody's email.
 * Deterministic. Whether the name is free is the ledger's to say (law 3).
 */
export function roleSessionName(person: { directory: string; subject: string; email: string }): string {
  // Checked before lower-casing too: some non-ASCII letters (U+212A, the Kelvin sign) have an ASCII lower case.
  const email = person.email.toLowerCase();
  return ROLE_SESSION_NAME.test(person.email) && ROLE_SESSION_NAME.test(email) && email.includes("@")
    ? email
    : hashedSessionName(person);
}

/** The hashed form alone: for an email that AWS refuses, and for somebody whose email is another person's name. */
export function hashedSessionName(person: { directory: string; subject: string; email: string }): string {
  const readable = (person.email.split("@", 1)[0] ?? "")
    .normalize("NFKD")
    .replaceAll(/\p{M}+/gu, "")
    .toLowerCase()
    .replaceAll(/[^a-z0-9.]+/g, "-")
    .replaceAll(/^[-.]+/g, "")
    .slice(0, READABLE_LENGTH)
    .replaceAll(/[-.]+$/g, "");
  // A length before each part keeps ("a", "bc") and ("ab", "c") apart.
  const hash = createHash("sha256");
  for (const part of [person.directory, person.subject]) hash.update(`${Buffer.byteLength(part)}:${part}`);
  const suffix = base32(hash.digest().subarray(0, 16));
  return readable === "" ? `person-${suffix}` : `${readable}-${suffix}`;
}

/** RFC 4648 base32, lower-case, unpadded: no case to lose, no character that AWS refuses. */
function base32(bytes: Uint8Array): string {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  let out = "";
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      out += alphabet.charAt((value >>> bits) & 31);
      value &= (1 << bits) - 1;
    }
  }
  return bits === 0 ? out : out + alphabet.charAt((value << (5 - bits)) & 31);
}
