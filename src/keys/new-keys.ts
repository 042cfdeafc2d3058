// @peculiar/x509 needs the polyfill to be there before it.
import "reflect-metadata";
import { KeyObject, generateKeyPair, randomBytes, webcrypto } from "node:crypto";
import { promisify } from "node:util";
import { BasicConstraintsExtension, KeyUsageFlags, KeyUsagesExtension, X509CertificateGenerator } from "@peculiar/x509";
import { exportJWK, exportPKCS8 } from "jose";
import {
  thumbprint,
  type KeyFile,
  type PrivateJwk,
  type SigningAlgorithm,
  type StoredFederationKey,
} from "./key-format.ts";

const GENERATION = {
  ES256: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  RS256: {
    name: "RSASSA-PKCS1-v1_5",
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: "SHA-256",
  },
} as const;

/** RFC 5280 4.1.2.5: "no well-defined expiration date". The certificate only wraps the key; nobody renews it. */
const NEVER = new Date("9999-12-31T23:59:59Z");

/** A whole new set: a key of its own for each use, so that no signature can be taken for another's. */
export async function newKeyFile(algorithm: SigningAlgorithm, origin: string, now: Date): Promise<KeyFile> {
  const [federation, es256, rs256, checkpoint] = await Promise.all([
    newFederationKey(algorithm, now),
    newPrivateJwk("ES256"),
    newPrivateJwk("RS256"),
    promisify(generateKeyPair)("ed25519"),
  ]);
  return {
    version: 1,
    federation: [federation],
    oauth: [es256, rs256],
    cookieKeys: [secret()],
    sealingKey: secret(),
    checkpoint: { name: origin, privateKey: await exportPKCS8(checkpoint.privateKey) },
  };
}

/** A key for federation tokens and the self-signed certificate over it that the JWKS carries as `x5c`. */
export async function newFederationKey(algorithm: SigningAlgorithm, now: Date): Promise<StoredFederationKey> {
  const keys = await webcrypto.subtle.generateKey(GENERATION[algorithm], true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    keys,
    name: "CN=Rolecall federation",
    notBefore: now,
    notAfter: NEVER,
    signingAlgorithm: GENERATION[algorithm],
    // An empty list would be no valid certificate (RFC 5280 4.1: SIZE (1..MAX)).
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    ],
  });
  const privateKey = KeyObject.from(keys.privateKey);
  return {
    kid: await thumbprint(privateKey),
    algorithm,
    createdAt: now.toISOString(),
    privateKey: await exportPKCS8(privateKey),
    certificate: Buffer.from(certificate.rawData).toString("base64"),
  };
}

async function newPrivateJwk(algorithm: SigningAlgorithm): Promise<PrivateJwk> {
  const { privateKey } = await webcrypto.subtle.generateKey(GENERATION[algorithm], true, ["sign", "verify"]);
  const key = KeyObject.from(privateKey);
  const { d = "", ...jwk } = await exportJWK(key);
  const kty = algorithm === "ES256" ? "EC" : "RSA";
  return { ...jwk, kty, d, kid: await thumbprint(key), alg: algorithm, use: "sig" };
}

function secret(): string {
  return randomBytes(32).toString("base64url");
}
