import { createHash } from "node:crypto";
import { jwtVerify, type JWTVerifyGetKey } from "jose";
import { type Claims, refuse } from "./claim-rules.ts";
import { hasDuplicateMembers } from "./unique-members.ts";

/** Asymmetric ones alone: `none` and HMAC by a public key (RFC 8725 2.1) are not among them. */
const ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
] as const;

/** Entra ID dates its tokens five minutes back; the nonce already ties the token to this sign-in. */
const MAX_AGE = "1h";
const CLOCK_TOLERANCE_SECONDS = 30;

export interface ExpectedIdToken {
  /** Exactly as configured. */
  readonly issuer: string;
  readonly clientId: string;
  readonly nonce: string;
  /** For the ID token of a refresh: the `sub` of the sign-in. Such a token may leave the nonce out. */
  readonly subject?: string;
  /** What `at_hash`, where there is one, must be the hash of. */
  readonly accessToken: string;
  /** Epoch milliseconds. */
  readonly now: number;
}

/**
 * The claims of an ID token that this provider signed, for this client, in answer to this very request (OpenID Connect
 * Core 3.1.3.7, and 12.2 for a refresh; stricter where it leaves a choice: one audience, no foreign `azp`, no other
 * `typ`, no member twice).
 * Keys come from `keys` alone: what the header says of keys (`jku`, `x5u`, `jwk`, `x5c`) is not looked at. Rejects with
 * a Refusal `idp_response_invalid`, with an error of jose, or with what `keys` rejects with.
 */
export async function verifyIdToken(
  idToken: string,
  keys: JWTVerifyGetKey,
  expected: ExpectedIdToken,
): Promise<Claims> {
  requirePlainJson(idToken);
  const { issuer, clientId, nonce, subject } = expected;
  const { payload, protectedHeader } = await jwtVerify<Claims>(idToken, keys, {
    algorithms: [...ALGORITHMS],
    issuer,
    audience: clientId,
    requiredClaims: ["iss", "sub", "aud", "exp", "iat", ...(subject === undefined ? ["nonce"] : [])],
    maxTokenAge: MAX_AGE,
    clockTolerance: CLOCK_TOLERANCE_SECONDS,
    currentDate: new Date(expected.now),
  });
  const { typ, alg } = protectedHeader;
  if (typ !== undefined && typ.toLowerCase() !== "jwt") invalid("the header's typ is another than JWT");
  if (Array.isArray(payload.aud) && payload.aud.length !== 1) invalid("aud names more than this client");
  if (payload["azp"] !== undefined && payload["azp"] !== clientId) invalid("azp is another client");
  if (payload["nonce"] !== undefined && payload["nonce"] !== nonce) invalid("nonce is not the one that was sent");
  if (payload.sub === "") invalid("sub is empty");
  if (subject !== undefined && payload.sub !== subject) invalid("sub is another than at the sign-in");
  requireSignInTime(payload["auth_time"], expected.now);
  if (payload["at_hash"] !== undefined && payload["at_hash"] !== tokenHash(alg, expected.accessToken)) {
    invalid("at_hash is not the access token's");
  }
  return payload;
}

/** Header and payload parse to what every other parser reads from them. */
function requirePlainJson(idToken: string): void {
  for (const part of idToken.split(".").slice(0, 2)) {
    const json = Buffer.from(part, "base64url").toString();
    try {
      JSON.parse(json);
    } catch {
      invalid("it is not a signed JWT");
    }
    if (hasDuplicateMembers(json)) invalid("a member stands in it twice");
  }
}

/** Seen on real servers: 0, where nobody signed in. */
function requireSignInTime(time: unknown, now: number): void {
  if (time === undefined) return;
  const latest = now / 1000 + CLOCK_TOLERANCE_SECONDS;
  if (typeof time !== "number" || time <= 0 || time > latest) invalid("auth_time is no time of a sign-in");
}

/** OpenID Connect Core 3.1.3.6: the left half of the hash that the signature's algorithm uses. */
function tokenHash(alg: string, token: string): string {
  const bits = alg.startsWith("Ed") ? "512" : alg.slice(-3);
  const digest = createHash(`sha${bits}`).update(token, "ascii").digest();
  return digest.subarray(0, digest.length / 2).toString("base64url");
}

function invalid(message: string): never {
  return refuse("idp_response_invalid", `the ID token is refused: ${message}`);
}
