import { X509Certificate, createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { calculateJwkThumbprint, exportJWK, type JWK } from "jose";
import { z } from "zod";

const secret = z.string().regex(/^[\w-]{43}$/);
const algorithm = z.enum(["ES256", "RS256"]);
const privateJwk = z.looseObject({
  kty: z.enum(["EC", "RSA"]),
  kid: z.string(),
  alg: algorithm,
  d: z.string(),
}) satisfies z.ZodType<JWK>;

const storedFederationKey = z.strictObject({
  kid: z.string().min(1),
  algorithm,
  createdAt: z.iso.datetime(),
  /** PKCS #8 PEM. */
  privateKey: z.string(),
  /** DER, base64. */
  certificate: z.base64(),
});

const keyFile = z.strictObject({
  version: z.literal(1),
  /** The active key first. */
  federation: z.array(storedFederationKey).min(1),
  oauth: z.array(privateJwk).min(1),
  cookieKeys: z.array(secret).min(1),
  sealingKey: secret,
  checkpoint: z.strictObject({ name: z.string().regex(/^[^\s+]+$/), privateKey: z.string() }),
});

/** keys.json as it lies on the disk. */
export type KeyFile = z.infer<typeof keyFile>;
export type StoredFederationKey = z.infer<typeof storedFederationKey>;
export type PrivateJwk = z.infer<typeof privateJwk>;

export type SigningAlgorithm = z.infer<typeof algorithm>;

export interface FederationKey {
  /** RFC 7638 thumbprint. */
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  readonly privateKey: KeyObject;
  /** Self-signed, over the same key: DER in base64, as `x5c` has it (RFC 7517 4.7). */
  readonly certificate: string;
  readonly createdAt: Date;
}

/** Every key of the broker, one for each use: what signs for AWS signs nothing else. */
export interface Keys {
  /** The active key first; the others are published, so that what they signed stays valid. */
  readonly federation: readonly [FederationKey, ...FederationKey[]];
  /** Private keys of the authorization server. */
  readonly oauth: readonly JWK[];
  /** The first signs cookies, all verify them. */
  readonly cookieKeys: readonly string[];
  /** 32 bytes: seals what lies in Redis. */
  readonly sealingKey: Uint8Array;
  /** Signs the ledger's checkpoints: an Ed25519 key, and the name that their verifiers know it by. */
  readonly checkpoint: { readonly name: string; readonly privateKey: KeyObject };
}

/**
 * The file's text as {@link KeyFile}. Throws an Error that names the field and the rule and never holds the content,
 * not even as its cause.
 */
export function readKeyFile(text: string): KeyFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Error("is not JSON");
  }
  const result = keyFile.safeParse(json);
  if (result.success) return result.data;
  const path = result.error.issues[0]?.path.join(".") ?? "";
  throw new Error(path === "" ? "is not an object with the expected fields" : `has a wrong or missing field: ${path}`);
}

/** The keys ready for use, each checked against what stands beside it; throws as {@link readKeyFile} does. */
export async function importKeys(file: KeyFile): Promise<Keys> {
  const [active, ...older] = await Promise.all(file.federation.map(importFederationKey));
  if (active === undefined) throw new Error("has no federation key");
  file.oauth.forEach((jwk, index) => {
    if (!fits(privateKeyOf(jwk, `oauth.${index}`), jwk.alg)) throw new Error(`has a key that is none: oauth.${index}`);
  });
  const checkpointKey = privateKeyOf(file.checkpoint.privateKey, "checkpoint.privateKey");
  if (checkpointKey.asymmetricKeyType !== "ed25519") throw new Error("has a checkpoint.privateKey that is not Ed25519");
  return {
    federation: [active, ...older],
    oauth: file.oauth,
    cookieKeys: file.cookieKeys,
    sealingKey: Buffer.from(file.sealingKey, "base64url"),
    checkpoint: { name: file.checkpoint.name, privateKey: checkpointKey },
  };
}

async function importFederationKey(stored: StoredFederationKey, index: number): Promise<FederationKey> {
  const field = `federation.${index}`;
  const { kid, algorithm, certificate } = stored;
  const privateKey = privateKeyOf(stored.privateKey, `${field}.privateKey`);
  if (!fits(privateKey, algorithm)) throw new Error(`has a key that does not fit its algorithm: ${field}`);
  if (kid !== (await thumbprint(privateKey))) throw new Error(`has a kid that is not its key's thumbprint: ${field}`);
  if (!certifies(certificate, privateKey)) throw new Error(`has a certificate over another key: ${field}`);
  return { kid, algorithm, privateKey, certificate, createdAt: new Date(stored.createdAt) };
}

function privateKeyOf(key: string | JWK, field: string): KeyObject {
  try {
    return typeof key === "string" ? createPrivateKey(key) : createPrivateKey({ key, format: "jwk" });
  } catch {
    throw new Error(`has a key that is none: ${field}`);
  }
}

/** ES256 is P-256 (RFC 7518 3.4), RS256 takes 2048 bits at least (3.3). */
function fits(key: KeyObject, algorithm: SigningAlgorithm): boolean {
  const details = key.asymmetricKeyDetails;
  return algorithm === "ES256"
    ? key.asymmetricKeyType === "ec" && details?.namedCurve === "prime256v1"
    : key.asymmetricKeyType === "rsa" && (details?.modulusLength ?? 0) >= 2048;
}

/** RFC 7638: the same key has the same `kid` wherever it is published. */
export async function thumbprint(privateKey: KeyObject): Promise<string> {
  return calculateJwkThumbprint(await exportJWK(createPublicKey(privateKey)));
}

/** Whether the certificate (DER in base64) is one over this very key. */
function certifies(certificate: string, privateKey: KeyObject): boolean {
  try {
    return new X509Certificate(Buffer.from(certificate, "base64")).checkPrivateKey(privateKey);
  } catch {
    return false;
  }
}
