// @peculiar/x509 needs the polyfill to be there before it.
import "reflect-metadata";
import { createPrivateKey, KeyObject, randomBytes, webcrypto, X509Certificate } from "node:crypto";
import { link, open, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { BasicConstraintsExtension, KeyUsageFlags, KeyUsagesExtension, X509CertificateGenerator } from "@peculiar/x509";
import { z } from "zod";
import { KeyFileError } from "./key-file.ts";

const keyPair = z.strictObject({
  /** PKCS #8 PEM. */
  privateKey: z.string(),
  /** PEM. */
  certificate: z.string(),
});

const samlKeyFile = z.strictObject({ version: z.literal(1), signing: keyPair, encryption: keyPair });

/** The broker's keys as a SAML service provider: RSA of 2048 bits, each for its one use, under self-signed certificates. */
export type SamlKeys = Readonly<Pick<z.infer<typeof samlKeyFile>, "signing" | "encryption">>;

const RSA = {
  name: "RSASSA-PKCS1-v1_5",
  modulusLength: 2048,
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: "SHA-256",
} as const;

/** RFC 5280 4.1.2.5: "no well-defined expiration date". Providers know the certificate by itself. */
const NEVER = new Date("9999-12-31T23:59:59Z");

/**
 * The keys from `saml-keys.json` in `stateDir`, which exists. Made on the first start that has a SAML provider (0600), whole
 * or not at all, and once: of several processes that start together, all get the same. Rejects with {@link KeyFileError}
 * where others can read the file, and where it is broken: a broken file is never replaced.
 */
export async function openSamlKeys(stateDir: string): Promise<SamlKeys> {
  const path = join(stateDir, "saml-keys.json");
  try {
    return (await load(path)) ?? (await make(path));
  } catch (error) {
    if (error instanceof KeyFileError) throw error;
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown fault";
    throw new KeyFileError(`${path} can't be used: ${code}`);
  }
}

async function load(path: string): Promise<SamlKeys | undefined> {
  const found = await stat(path).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  });
  if (!found) return undefined;
  if ((found.mode & 0o077) !== 0) throw new KeyFileError(`${path} can be read or written by others: chmod 600 it`);
  return imported(path, await readFile(path, "utf8"));
}

/** Never the content in the message, nor as its cause. */
function imported(path: string, text: string): SamlKeys {
  try {
    const { signing, encryption } = samlKeyFile.parse(JSON.parse(text));
    for (const { privateKey, certificate } of [signing, encryption]) {
      if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(privateKey))) throw new Error("no pair");
    }
    return { signing, encryption };
  } catch {
    throw new KeyFileError(`${path} does not hold two RSA keys with their certificates`);
  }
}

/** A link takes no other file's place: whoever is first makes the file, and the others read it. */
async function make(path: string): Promise<SamlKeys> {
  const [signing, encryption] = await Promise.all([
    newPair(KeyUsageFlags.digitalSignature),
    newPair(KeyUsageFlags.keyEncipherment),
  ]);
  const draft = `${path}.${randomBytes(8).toString("hex")}`;
  const handle = await open(draft, "wx", 0o600);
  try {
    await handle.writeFile(`${JSON.stringify({ version: 1, signing, encryption }, undefined, 2)}\n`);
    await handle.sync();
    await link(draft, path).catch((error: unknown) => {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    });
  } finally {
    await handle.close();
    await rm(draft, { force: true });
  }
  return (await load(path)) ?? { signing, encryption };
}

async function newPair(usage: KeyUsageFlags): Promise<SamlKeys["signing"]> {
  const keys = await webcrypto.subtle.generateKey(RSA, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    keys,
    name: "CN=Rolecall SAML service provider",
    // A clock that is a little behind ours must not find it too young.
    notBefore: new Date(Date.now() - 60_000),
    notAfter: NEVER,
    signingAlgorithm: RSA,
    extensions: [new BasicConstraintsExtension(false, undefined, true), new KeyUsagesExtension(usage, true)],
  });
  const privateKey = KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" });
  return { privateKey: String(privateKey), certificate: certificate.toString("pem") };
}
