// @peculiar/x509 needs the polyfill to be there before it.
import "reflect-metadata";
import { KeyObject, createPublicKey, generateKeyPair, randomBytes, webcrypto } from "node:crypto";
import { promisify } from "node:util";
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509CertificateGenerator,
  type X509CertificateCreateParamsBase,
} from "@peculiar/x509";
import { exportPKCS8 } from "jose";
import { thumbprint } from "./key-format.ts";
import {
  secretId,
  type KeyFile,
  type SigningAlgorithm,
  type StoredCheckpointKey,
  type StoredFederationKey,
  type StoredKey,
  type StoredSamlKey,
} from "./stored-keys.ts";

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

/** When a key is made, and from when on it is the active one. */
export interface Beginning {
  readonly createdAt: Date;
  readonly activeFrom: Date;
}

/** A key in AWS KMS as far as a certificate over it needs it. */
export interface RemoteKey {
  readonly arn: string;
  readonly algorithm: SigningAlgorithm;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  /** The signature as in a JWS: for ES256 R and S, 64 bytes. */
  sign(data: Uint8Array): Promise<Uint8Array>;
}

/** A whole new set: a key of its own for each use, so that no signature can be taken for another's. */
export async function newKeyFile(algorithm: SigningAlgorithm, origin: string, now: Date): Promise<KeyFile> {
  const beginning = { createdAt: now, activeFrom: now };
  const [federation, oauth, checkpoint] = await Promise.all([
    newFederationKey(algorithm, beginning),
    newOauthKey(beginning),
    newCheckpointKey(origin),
  ]);
  const secrets = [newSecretKey("cookies", beginning), newSecretKey("sealing", beginning)];
  return { version: 2, keys: [federation, oauth, ...secrets], checkpoint };
}

/** A key for federation tokens and the self-signed certificate over it that the JWKS carries as `x5c`. */
export async function newFederationKey(
  algorithm: SigningAlgorithm,
  beginning: Beginning,
): Promise<StoredFederationKey & { privateKey: string }> {
  const keys = await webcrypto.subtle.generateKey(GENERATION[algorithm], true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    keys,
    name: NAME,
    ...certified(algorithm, beginning.createdAt),
  });
  const privateKey = KeyObject.from(keys.privateKey);
  return {
    use: "federation",
    kid: await thumbprint(privateKey),
    ...timesOf(beginning),
    algorithm,
    certificate: Buffer.from(certificate.rawData).toString("base64"),
    privateKey: await exportPKCS8(privateKey),
  };
}

/** A key for the SAML assertions that AWS takes: RSA, as every verifier knows it, and the certificate for the metadata. */
export async function newSamlKey(beginning: Beginning): Promise<StoredSamlKey> {
  const key = await newFederationKey("RS256", beginning);
  return { ...key, use: "saml", algorithm: "RS256" };
}

/** A key for federation tokens that lies in AWS KMS: the certificate over it is signed over there. */
export async function newRemoteFederationKey(remote: RemoteKey, beginning: Beginning): Promise<StoredFederationKey> {
  const { arn, algorithm, publicKey } = remote;
  // Only names the algorithm: what would sign with a private half asks KMS instead.
  const signingKey = await webcrypto.subtle.importKey("spki", publicKey, GENERATION[algorithm], true, ["verify"]);
  const parameters = {
    publicKey,
    signingKey,
    subject: NAME,
    issuer: NAME,
    ...certified(algorithm, beginning.createdAt),
  };
  const certificate = await X509CertificateGenerator.create(parameters, signingThere(remote));
  return {
    use: "federation",
    kid: await thumbprint(createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" })),
    ...timesOf(beginning),
    algorithm,
    certificate: Buffer.from(certificate.rawData).toString("base64"),
    kms: arn,
  };
}

type WebCrypto = Parameters<typeof X509CertificateGenerator.create>[1];

/** As much of WebCrypto as a certificate takes, its signature made by `remote`. */
function signingThere(remote: RemoteKey): WebCrypto {
  const subtle = { sign: (_algorithm: unknown, _key: unknown, data: ArrayBuffer) => remote.sign(new Uint8Array(data)) };
  return { getRandomValues: (array: Uint8Array) => webcrypto.getRandomValues(array), subtle };
}

export async function newOauthKey(beginning: Beginning): Promise<StoredKey> {
  const { privateKey } = await webcrypto.subtle.generateKey(GENERATION.ES256, true, ["sign", "verify"]);
  const key = KeyObject.from(privateKey);
  const kid = await thumbprint(key);
  return { use: "oauth", kid, ...timesOf(beginning), algorithm: "ES256", privateKey: await exportPKCS8(key) };
}

export function newSecretKey(use: "cookies" | "sealing", beginning: Beginning): StoredKey {
  const secret = randomBytes(32).toString("base64url");
  return { use, kid: secretId(secret), ...timesOf(beginning), secret };
}

async function newCheckpointKey(name: string): Promise<StoredCheckpointKey> {
  const { privateKey } = await promisify(generateKeyPair)("ed25519");
  return { name, privateKey: await exportPKCS8(privateKey) };
}

function timesOf({ createdAt, activeFrom }: Beginning): { createdAt: string; activeFrom: string } {
  return { createdAt: createdAt.toISOString(), activeFrom: activeFrom.toISOString() };
}

const NAME = "CN=Rolecall federation";

function certified(
  algorithm: SigningAlgorithm,
  notBefore: Date,
): X509CertificateCreateParamsBase & { signingAlgorithm: (typeof GENERATION)[SigningAlgorithm] } {
  return {
    notBefore,
    notAfter: NEVER,
    signingAlgorithm: GENERATION[algorithm],
    // An empty list would be no valid certificate (RFC 5280 4.1: SIZE (1..MAX)).
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    ],
  };
}
