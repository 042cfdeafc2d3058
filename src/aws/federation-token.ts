import { createHash } from "node:crypto";
import { createLocalJWKSet, errors, jwtVerify, type JSONWebKeySet } from "jose";
import { Refusal } from "../flow/errors.ts";
import type { FederationClaims, SignFederationToken } from "../flow/federation-token.ts";
import type { IssuerDocuments } from "./issuer-documents.ts";
import type { Signer } from "./signer.ts";
import { requireStsClaims } from "./sts-claims.ts";

/** WebIdentityToken: 20,000 characters at most (AWS STS API reference, AssumeRoleWithWebIdentity). */
const MAX_TOKEN = 20_000;
/**
 * Signs with `signer` (the active one) and returns the token only when it holds against `documents`, the very ones
 * that are published: STS answers a wrong key, algorithm, audience or claim with one and the same message, so the
 * ledger could not tell them apart. Rejects with a Refusal `federation_token_invalid` that names the field or the rule.
 */
export function federationSigner(options: {
  readonly signer: Signer;
  readonly documents: IssuerDocuments;
  readonly audience: string;
  /** Epoch milliseconds. */
  readonly now?: () => number;
}): (claims: FederationClaims) => ReturnType<SignFederationToken> {
  const { signer, documents, audience, now = Date.now } = options;
  // Through JSON, as IAM gets it.
  const published = JSON.parse(JSON.stringify(documents)) as typeof documents & { jwks: JSONWebKeySet };
  const keys = createLocalJWKSet(published.jwks);

  return async (claims) => {
    const jwt = await signed(signer, claims);
    try {
      await jwtVerify(jwt, keys, {
        algorithms: [...published.discovery.id_token_signing_alg_values_supported],
        issuer: published.discovery.issuer,
        audience,
        typ: "JWT",
        requiredClaims: ["iss", "sub", "aud", "iat", "exp", "jti"],
        currentDate: new Date(now()),
      });
    } catch (error) {
      throw new Refusal("federation_token_invalid", `the token fails its own check: ${faultOf(error)}`);
    }
    requireStsClaims(claims);
    if (jwt.length > MAX_TOKEN) {
      throw new Refusal("federation_token_invalid", `the token is longer than ${MAX_TOKEN} characters`);
    }
    return { text: jwt, sha256: createHash("sha256").update(jwt).digest("hex"), keyId: signer.keyId };
  };
}

/** RFC 7515 7.1, compact serialization; by hand because a key in KMS signs over there, and jose only with keys here. */
async function signed(signer: Signer, claims: FederationClaims): Promise<string> {
  const header = { alg: signer.algorithm, kid: signer.keyId, typ: "JWT" };
  const input = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  const signature = await signer.sign(Buffer.from(input, "ascii"));
  return `${input}.${Buffer.from(signature).toString("base64url")}`;
}

/** jose's messages name the claim or the rule and hold no values (its `src/util/errors.ts`). */
function faultOf(error: unknown): string {
  return error instanceof errors.JOSEError ? `${error.code}: ${error.message}` : "unexpected error";
}
