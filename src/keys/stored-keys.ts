import { createHash } from "node:crypto";
import { z } from "zod";

/** keys.json, version 2: one list of keys, each with its use and its times, from which its state follows. */

export const secretText = z.string().regex(/^[\w-]{43}$/);
export const algorithm = z.enum(["ES256", "RS256"]);

/** An asymmetric KMS key; an alias could be moved to another key under our feet. */
export const KMS_KEY_ARN = /^arn:aws(?:-cn|-us-gov)?:kms:[a-z0-9-]+:[0-9]{12}:key\/[\w-]{1,128}$/;

const life = {
  /** Of a key pair its RFC 7638 thumbprint. */
  kid: z.string().regex(/^[\w-]{8,64}$/),
  createdAt: z.iso.datetime(),
  activeFrom: z.iso.datetime(),
  revokedAt: z.iso.datetime().optional(),
};

const federationKey = z.strictObject({
  use: z.literal("federation"),
  ...life,
  algorithm,
  /** DER, base64: the public half, for as long as anybody may ask which key that was. */
  certificate: z.base64(),
  /** PKCS #8 PEM; gone once the key is dropped or revoked. */
  privateKey: z.string().optional(),
  /** The key in AWS KMS that signs; then there is no private half here. */
  kms: z.string().regex(KMS_KEY_ARN).optional(),
});

const samlKey = z.strictObject({
  use: z.literal("saml"),
  ...life,
  algorithm: z.literal("RS256"),
  /** DER, base64: what the SAML metadata has. */
  certificate: z.base64(),
  /** PKCS #8 PEM; gone once the key is dropped or revoked. */
  privateKey: z.string().optional(),
});

const oauthKey = z.strictObject({
  use: z.literal("oauth"),
  ...life,
  algorithm,
  privateKey: z.string().optional(),
});

const secretKey = <Use extends "cookies" | "sealing">(use: Use) =>
  z.strictObject({ use: z.literal(use), ...life, secret: secretText.optional() });

/** One key as it lies in the file, told apart by its use. */
const storedKey = z.discriminatedUnion("use", [
  federationKey,
  samlKey,
  oauthKey,
  secretKey("cookies"),
  secretKey("sealing"),
]);

export const storedCheckpointKey = z.strictObject({
  name: z.string().regex(/^[^\s+]+$/),
  /** Ed25519, PKCS #8 PEM. */
  privateKey: z.string(),
});

export const keyFile = z.strictObject({
  version: z.literal(2),
  keys: z.array(storedKey),
  /** Left out where the configuration's `checkpointKey` says where it is. */
  checkpoint: storedCheckpointKey.optional(),
});

/** keys.json as it lies on the disk. */
export type KeyFile = z.infer<typeof keyFile>;
export type StoredKey = z.infer<typeof storedKey>;
export type StoredFederationKey = z.infer<typeof federationKey>;
export type StoredSamlKey = z.infer<typeof samlKey>;
export type StoredCheckpointKey = z.infer<typeof storedCheckpointKey>;
export type SigningAlgorithm = z.infer<typeof algorithm>;

/** By which secrets are told apart: nobody gets back from it to 256 random bits. */
export function secretId(secret: string): string {
  return createHash("sha256").update(`rolecall key id ${secret}`).digest("base64url").slice(0, 16);
}
