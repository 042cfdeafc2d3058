// @peculiar/x509 needs the polyfill to be there before it.
import "reflect-metadata";
import { KeyObject, webcrypto } from "node:crypto";
import { X509CertificateGenerator } from "@peculiar/x509";

/** What a stand-in identity provider signs with; both PEM. */
export interface SamlIdpKey {
  readonly privateKey: string;
  readonly certificate: string;
}

/** A new RSA key under a self-signed certificate, as identity providers make them; `over` for weak and expired ones. */
export async function newSamlIdpKey(
  over: { readonly bits?: number; readonly notAfter?: Date } = {},
): Promise<SamlIdpKey> {
  const { bits = 2048, notAfter = new Date("2099-12-31T00:00:00Z") } = over;
  const algorithm = {
    name: "RSASSA-PKCS1-v1_5",
    modulusLength: bits,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: "SHA-256",
  };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    keys,
    name: "CN=stand-in",
    notBefore: new Date("2020-01-01T00:00:00Z"),
    notAfter,
    signingAlgorithm: algorithm,
  });
  const privateKey = KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" });
  return { privateKey: String(privateKey), certificate: certificate.toString("pem") };
}
