import { createHash, createPublicKey } from "node:crypto";
import type { Config } from "../config/config.ts";
import { newRemoteFederationKey, type Beginning } from "../keys/new-keys.ts";
import type { StoredFederationKey } from "../keys/stored-keys.ts";

/**
 * A reference to the KMS key `arn` for keys.json, with a certificate that the key itself has signed: so it is known to
 * sign before anything depends on it. Rejects with a Refusal `signing_unavailable` that says why it can't be used.
 */
export async function newKmsKey(
  arn: string,
  beginning: Beginning,
  { aws }: Pick<Config, "aws">,
): Promise<StoredFederationKey> {
  // Loaded only here: the other commands start without it.
  const { Kms } = await import("../aws/kms.ts");
  const kms = new Kms({ endpoint: aws.kmsEndpoint });
  try {
    const key = await kms.describe(arn);
    const publicKey = createPublicKey({ key: Buffer.from(key.publicKey), format: "der", type: "spki" });
    const kid = createHash("sha256").update(key.publicKey).digest("base64url");
    const signer = kms.signer(arn, { kid, algorithm: key.algorithm, publicKey, certificate: "" });
    return await newRemoteFederationKey({ ...key, sign: (data) => signer.sign(data) }, beginning);
  } finally {
    kms.close();
  }
}
