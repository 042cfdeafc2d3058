import { sign, type KeyObject } from "node:crypto";
import { promisify } from "node:util";
import type { JWK } from "jose";

/** A key that AWS is told of; it may be one that does not sign any more, or not yet. */
export interface PublishedKey {
  /** `kid`: in the token's header and in the JWKS. */
  readonly keyId: string;
  readonly algorithm: "ES256" | "RS256";
  readonly publicJwk: JWK;
  /** A self-signed certificate over the same key: DER in base64 (RFC 7517 4.7). */
  readonly x5c: readonly string[];
}

/** A key that signs federation tokens, wherever it lies: in the key file, or in AWS KMS (kms.ts). */
export interface Signer extends PublishedKey {
  /** The JWS signature of `data` (RFC 7518 3.3, 3.4: for ES256 R and S, 64 bytes, not DER). */
  sign(data: Uint8Array): Promise<Uint8Array>;
}

/** A federation key's public half, and what names it. */
export interface PublicKeyFacts {
  readonly kid: string;
  readonly algorithm: "ES256" | "RS256";
  readonly publicKey: KeyObject;
  readonly certificate: string;
}

const signOffThread = promisify(
  (data: Uint8Array, key: KeyObject, done: (error: Error | null, signature: Buffer) => void) => {
    // `dsaEncoding` is for ECDSA and ignored for RSA.
    sign("sha256", data, { key, dsaEncoding: "ieee-p1363" }, done);
  },
);

export function publishedKey({ kid, algorithm, publicKey, certificate }: PublicKeyFacts): PublishedKey {
  return { keyId: kid, algorithm, publicJwk: publicKey.export({ format: "jwk" }), x5c: [certificate] };
}

/** A {@link Signer} over a private key that this process holds. */
export function keySigner(key: PublicKeyFacts, privateKey: KeyObject): Signer {
  return { ...publishedKey(key), sign: (data) => signOffThread(data, privateKey) };
}
