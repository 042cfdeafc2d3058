import { createPrivateKey } from "node:crypto";
import { z } from "zod";
import { algorithm, secretId, secretText, storedCheckpointKey, type KeyFile, type StoredKey } from "./stored-keys.ts";

const federationKey = z.strictObject({
  kid: z.string().min(1),
  algorithm,
  createdAt: z.iso.datetime(),
  privateKey: z.string(),
  certificate: z.base64(),
});
const privateJwk = z.looseObject({ kty: z.enum(["EC", "RSA"]), kid: z.string(), alg: algorithm, d: z.string() });

/** keys.json before keys had states: of each use, the first is the active one. */
export const keyFileVersion1 = z.strictObject({
  version: z.literal(1),
  federation: z.array(federationKey).min(1),
  oauth: z.array(privateJwk).min(1),
  cookieKeys: z.array(secretText).min(1),
  sealingKey: secretText,
  checkpoint: storedCheckpointKey,
});

/**
 * The same keys, each with the state that it had; the same for every instance that has a copy of the file. Throws an
 * Error that names the field.
 */
export function fromVersion1(file: z.infer<typeof keyFileVersion1>): KeyFile {
  const { federation, oauth, cookieKeys, sealingKey, checkpoint } = file;
  const began = new Date(Math.min(...federation.map(({ createdAt }) => Date.parse(createdAt)))).toISOString();
  const secretKey = (use: "cookies" | "sealing", secret: string): StoredKey => ({
    ...{ use, kid: secretId(secret), createdAt: began, activeFrom: began },
    secret,
  });
  return {
    version: 2,
    keys: [
      ...inTurn(federation.map((key) => ({ use: "federation", ...key, activeFrom: key.createdAt }))),
      ...inTurn(oauth.map((jwk, index) => oauthKey(jwk, index, began))),
      ...inTurn(cookieKeys.map((secret) => secretKey("cookies", secret))),
      secretKey("sealing", sealingKey),
    ],
    checkpoint,
  };
}

function oauthKey(jwk: z.infer<typeof privateJwk>, index: number, began: string): StoredKey {
  const life = { kid: jwk.kid, createdAt: began, activeFrom: began };
  return { use: "oauth", ...life, algorithm: jwk.alg, privateKey: pemOf(jwk, `oauth.${index}`) };
}

function pemOf(key: z.infer<typeof privateJwk>, field: string): string {
  try {
    return createPrivateKey({ key, format: "jwk" }).export({ type: "pkcs8", format: "pem" }).toString();
  } catch {
    throw new Error(`has a key that is none: ${field}`);
  }
}

/** The first became active last: from the oldest on, each a moment after the one before at least. */
function inTurn(keys: readonly StoredKey[]): StoredKey[] {
  let before = 0;
  return keys.toReversed().map((key) => {
    before = Math.max(Date.parse(key.activeFrom), before + 1);
    return { ...key, activeFrom: new Date(before).toISOString() };
  });
}
