import type { JWK } from "jose";
import type { PublishedKey } from "./signer.ts";

/** OpenID Connect Discovery 1.0, as much of it as IAM reads. */
export interface DiscoveryDocument {
  readonly issuer: string;
  readonly jwks_uri: string;
  readonly id_token_signing_alg_values_supported: readonly string[];
  readonly response_types_supported: readonly string[];
  readonly subject_types_supported: readonly string[];
  readonly claims_supported: readonly string[];
}

export interface IssuerDocuments {
  /** At `ISSUER/.well-known/openid-configuration`. */
  readonly discovery: DiscoveryDocument;
  /** At `ISSUER/jwks`. */
  readonly jwks: { readonly keys: readonly JWK[] };
}

/**
 * The two documents by which IAM trusts the federation issuer; to be served with `Cache-Control: no-cache`, since IAM
 * heeds it and a withdrawn key must be gone at once. `keys`: the active one first, because some STS look at the
 * first key only. `kid`, `use` and `alg` are there; `key_ops` is not, since STS refuses any value of it.
 */
export function issuerDocuments(issuer: string, keys: readonly PublishedKey[]): IssuerDocuments {
  return {
    discovery: {
      issuer,
      jwks_uri: `${issuer}/jwks`,
      id_token_signing_alg_values_supported: [...new Set(keys.map((key) => key.algorithm))],
      response_types_supported: ["id_token"],
      subject_types_supported: ["public"],
      claims_supported: ["iss", "sub", "aud", "iat", "exp", "jti"],
    },
    jwks: { keys: keys.map(jwkOf) },
  };
}

function jwkOf({ keyId, algorithm, publicJwk, x5c }: PublishedKey): JWK {
  const { kty, n, e, crv, x, y } = publicJwk;
  const parameters = algorithm === "RS256" ? { n, e } : { crv, x, y };
  // By name, so that nothing else of a key, least of all its private half, is ever published.
  return { kty, ...parameters, kid: keyId, use: "sig", alg: algorithm, x5c: [...x5c] } as JWK;
}
