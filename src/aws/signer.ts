import { createPublicKey, sign, type KeyObject } from "node:crypto";
import { promisify } from "node:util";
import type { JWK } from "jose";

/**
 * A key that signs federation tokens, wherever it lies: in the key file today, in AWS KMS as well as there one day,
 * since nobody here needs its private half.
 */
export interface Signer {
  /** `kid`: in the token's header and in the JWKS. */
  readonly keyId: string;
  readonly algorithm: "ES256" | "RS256";
  readonly publicJwk: JWK;
  /** A self-signed certificate over the same key: DER in base64 (RFC 7517 4.7). */
  readonly x5c: readonly string[];
  /** The JWS signature of `data` (RFC 7518 3.3, 3.4: for ES256 R and S, 64 bytes, not DER). */
  sign(data: Uint8Array): Promise<Uint8Array>;
}

const signOffThread = promisify(
  (data: Uint8Array, key: KeyObject, done: (error: Error | null, signature: Buffer) => void) => {
    // `dsaEncoding` is for ECDSA and ignored for RSA.
    sign("sha256", data, { key, dsaEncoding: "ieee-p1363" }, done);
  },
);

/** A {@link Signer} over a private key that this process holds. */
export function keySigner(key: {
  readonly kid: string;
  readonly algorithm: "ES256" | "RS256";
  readonly privateKey: KeyObject;
  readonly certificate: string;
}): Signer {
  return {
    keyId: key.kid,
    algorithm: key.algorithm,
    publicJwk: createPublicKey(key.privateKey).export({ format: "jwk" }),
    x5c: [key.certificate],
    sign: (data) => signOffThread(data, key.privateKey),
  };
}
