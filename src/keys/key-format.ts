import { X509Certificate, createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { calculateJwkThumbprint, exportJWK, type JWK } from "jose";
import type { z } from "zod";
import { KEY_USES, standingAt, type KeyState, type KeyUse } from "./key-states.ts";
import { fromVersion1, keyFileVersion1 } from "./key-version-1.ts";
import {
  keyFile,
  storedCheckpointKey,
  type KeyFile,
  type SigningAlgorithm,
  type StoredCheckpointKey,
  type StoredFederationKey,
  type StoredKey,
  type StoredSamlKey,
} from "./stored-keys.ts";

export interface FederationKey {
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  readonly publicKey: KeyObject;
  /** Where it signs: a private half that this process holds, or a key in AWS KMS; undefined once it is dropped. */
  readonly signs: { readonly privateKey: KeyObject } | { readonly kms: string } | undefined;
  /** Self-signed, over the same key: DER in base64, as `x5c` has it (RFC 7517 4.7). */
  readonly certificate: string;
}

export interface SamlKey {
  readonly kid: string;
  /** DER, base64. */
  readonly certificate: string;
  /** Undefined once it is dropped. */
  readonly privateKey: KeyObject | undefined;
}

/** The keys as they stand at a moment, ready for use. */
export interface Keys {
  /** The active key first, then whatever else is published: prepared and retired ones. */
  readonly federation: readonly [FederationKey, ...FederationKey[]];
  /** The active key first, then whatever else the metadata has; none where the broker never federated by SAML. */
  readonly saml: readonly SamlKey[];
  /** Private keys of the authorization server, in the same order. */
  readonly oauth: readonly JWK[];
  /** The first signs cookies, all verify them. */
  readonly cookieKeys: readonly string[];
  /** 32 bytes each: the first seals what lies in Redis, all open it. */
  readonly sealingKeys: readonly Uint8Array[];
}

/** Signs the ledger's checkpoints: an Ed25519 key, and the name that their verifiers know it by. */
export interface CheckpointSigningKey {
  readonly name: string;
  readonly privateKey: KeyObject;
}

/**
 * The file's text as {@link KeyFile}, also where it is still of version 1. Throws an Error that names the field and the
 * rule and never holds the content, not even as its cause.
 */
export function readKeyFile(text: string): KeyFile {
  const json = parse(text);
  const old = typeof json === "object" && json !== null && "version" in json && json.version === 1;
  return old ? fromVersion1(shaped(keyFileVersion1, json)) : shaped(keyFile, json);
}

/** A checkpoint key that lies in a place of its own, in the form that keys.json has for it; throws as {@link readKeyFile}. */
export function readCheckpointKey(text: string): CheckpointSigningKey {
  return importCheckpointKey(shaped(storedCheckpointKey, parse(text)));
}

export function importCheckpointKey({ name, privateKey }: StoredCheckpointKey): CheckpointSigningKey {
  const key = privateKeyOf(privateKey, "checkpoint.privateKey");
  if (key.asymmetricKeyType !== "ed25519") throw new Error("has a checkpoint.privateKey that is not Ed25519");
  return { name, privateKey: key };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("is not JSON");
  }
}

function shaped<T>(schema: z.ZodType<T>, json: unknown): T {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const path = result.error.issues[0]?.path.join(".") ?? "";
  throw new Error(path === "" ? "is not an object with the expected fields" : `has a wrong or missing field: ${path}`);
}

/** A key that is the active one, its successor, or still taken: the others are history. */
const TAKEN: readonly KeyState[] = ["active", "prepared", "retired"];

/**
 * The keys that are taken at `now` (epoch milliseconds), each checked against what stands beside it; throws as
 * {@link readKeyFile} does.
 */
export async function importKeys(file: KeyFile, now: number): Promise<Keys> {
  requireUnique(file);
  const [federation, saml, oauth, cookies, sealing] = [
    takenKeys(file, "federation", now),
    takenKeys(file, "saml", now),
    takenKeys(file, "oauth", now),
    takenKeys(file, "cookies", now),
    takenKeys(file, "sealing", now),
  ];
  const [active, ...others] = await Promise.all(federation.map(importFederationKey));
  if (active?.signs === undefined) throw new Error("has an active federation key without its private half");
  const samlKeys = await Promise.all(saml.map(importSamlKey));
  if (samlKeys[0] && samlKeys[0].privateKey === undefined)
    throw new Error("has an active saml key without its private half");
  const secretOf = ({ kid, secret }: { kid: string; secret?: string | undefined }): string => {
    if (secret === undefined) throw new Error(`has a key without its secret: ${kid}`);
    return secret;
  };
  return {
    federation: [active, ...others],
    saml: samlKeys,
    oauth: await Promise.all(oauth.map(importOauthKey)),
    cookieKeys: cookies.map(secretOf),
    sealingKeys: sealing.map((key) => Buffer.from(secretOf(key), "base64url")),
  };
}

/** Those of one use, with what they are. */
export function keysOf<Use extends KeyUse>(file: KeyFile, use: Use): Extract<StoredKey, { use: Use }>[] {
  return file.keys.filter((key): key is Extract<StoredKey, { use: Use }> => key.use === use);
}

function takenKeys<Use extends KeyUse>(file: KeyFile, use: Use, now: number): Extract<StoredKey, { use: Use }>[] {
  const standing = standingAt(use, keysOf(file, use), now).filter(({ state }) => TAKEN.includes(state));
  return standing.toSorted((a, b) => TAKEN.indexOf(a.state) - TAKEN.indexOf(b.state)).map(({ key }) => key);
}

function requireUnique({ keys }: KeyFile): void {
  for (const use of KEY_USES) {
    const kids = keys.filter((key) => key.use === use).map(({ kid }) => kid);
    if (new Set(kids).size < kids.length) throw new Error(`has one kid twice for ${use}`);
  }
}

async function importFederationKey(stored: StoredFederationKey): Promise<FederationKey> {
  const { kid, algorithm, certificate, kms } = stored;
  const { publicKey, privateKey } = await importCertified(stored);
  const signs = kms === undefined ? privateKey && { privateKey } : { kms };
  return { kid, algorithm, publicKey, certificate, signs };
}

async function importSamlKey(stored: StoredSamlKey): Promise<SamlKey> {
  const { kid, certificate } = stored;
  const { privateKey } = await importCertified(stored);
  return { kid, certificate, privateKey };
}

/** Both halves of a key under a certificate, which fit one another. */
async function importCertified(
  stored: StoredFederationKey | StoredSamlKey,
): Promise<{ publicKey: KeyObject; privateKey: KeyObject | undefined }> {
  const { kid, algorithm, certificate } = stored;
  const publicKey = certifiedKey(certificate, kid);
  if (!fits(publicKey, algorithm)) throw new Error(`has a key that does not fit its algorithm: ${kid}`);
  if (kid !== (await thumbprint(publicKey))) throw new Error(`has a kid that is not its key's thumbprint: ${kid}`);
  if (stored.privateKey === undefined) return { publicKey, privateKey: undefined };
  const privateKey = privateKeyOf(stored.privateKey, kid);
  if (!createPublicKey(privateKey).equals(publicKey)) throw new Error(`has a certificate over another key: ${kid}`);
  return { publicKey, privateKey };
}

async function importOauthKey({ kid, algorithm, privateKey = "" }: Extract<StoredKey, { use: "oauth" }>): Promise<JWK> {
  const key = privateKeyOf(privateKey, kid);
  if (!fits(key, algorithm)) throw new Error(`has a key that does not fit its algorithm: ${kid}`);
  return { ...(await exportJWK(key)), kid, alg: algorithm, use: "sig" };
}

function privateKeyOf(pem: string, field: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new Error(`has a key that is none: ${field}`);
  }
}

function certifiedKey(certificate: string, kid: string): KeyObject {
  try {
    return new X509Certificate(Buffer.from(certificate, "base64")).publicKey;
  } catch {
    throw new Error(`has a certificate that is none: ${kid}`);
  }
}

/** ES256 is P-256 (RFC 7518 3.4), RS256 takes 2048 bits at least (3.3). */
export function fits(key: KeyObject, algorithm: SigningAlgorithm): boolean {
  const details = key.asymmetricKeyDetails;
  return algorithm === "ES256"
    ? key.asymmetricKeyType === "ec" && details?.namedCurve === "prime256v1"
    : key.asymmetricKeyType === "rsa" && (details?.modulusLength ?? 0) >= 2048;
}

/** RFC 7638: the same key has the same `kid` wherever it is published. */
export async function thumbprint(key: KeyObject): Promise<string> {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  return calculateJwkThumbprint(await exportJWK(publicKey));
}
