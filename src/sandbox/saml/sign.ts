import { createPublicKey } from "node:crypto";
import { promisify } from "node:util";
import { SignedXml } from "xml-crypto";
import { encrypt } from "xml-encryption";
import type { SamlIdpKey } from "./key.ts";
import { responseXml, type ResponseFacts } from "./response.ts";

const EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#";

export interface SignatureAlgorithms {
  readonly signature:
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256" | "http://www.w3.org/2000/09/xmldsig#rsa-sha1";
  readonly digest: "http://www.w3.org/2001/04/xmlenc#sha256" | "http://www.w3.org/2000/09/xmldsig#sha1";
}

const STRONG: SignatureAlgorithms = {
  signature: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
  digest: "http://www.w3.org/2001/04/xmlenc#sha256",
};

/** What to sign: `root`, or an assertion below it. */
type Signed = "root" | "Assertion";

/** `xml` with an enveloped signature over that element, after its Issuer, or first where there is none. */
export function signXml(xml: string, signed: Signed, key: SamlIdpKey, algorithms = STRONG): string {
  const element = signed === "root" ? "/*" : "//*[local-name(.)='Assertion']";
  const signer = new SignedXml({
    privateKey: key.privateKey,
    publicCert: key.certificate,
    signatureAlgorithm: algorithms.signature,
    canonicalizationAlgorithm: EXCLUSIVE,
  });
  signer.addReference({
    xpath: element,
    transforms: ["http://www.w3.org/2000/09/xmldsig#enveloped-signature", EXCLUSIVE],
    digestAlgorithm: algorithms.digest,
  });
  const issuer = `${element}/*[local-name(.)='Issuer']`;
  const opening = (signed === "root" ? /^[^]*?<[^?][^>]*>/ : /<[a-z]*:?Assertion[^>]*>/).exec(xml)?.[0] ?? "";
  const afterIssuer = /^<(?:[a-z]+:)?Issuer/.test(xml.slice(xml.indexOf(opening) + opening.length));
  signer.computeSignature(xml, {
    prefix: "ds",
    location: afterIssuer ? { reference: issuer, action: "after" } : { reference: element, action: "prepend" },
  });
  return signer.getSignedXml();
}

/** A Response with its assertion signed, and then itself, as a provider does it that is set to sign both. */
export function signedResponse(facts: ResponseFacts, key: SamlIdpKey, sign = { response: true }): string {
  const assertionSigned = signXml(responseXml(facts), "Assertion", key);
  return sign.response ? signXml(assertionSigned, "root", key) : assertionSigned;
}

export type EncryptionAlgorithm =
  "http://www.w3.org/2009/xmlenc11#aes256-gcm" | "http://www.w3.org/2001/04/xmlenc#aes256-cbc";

type KeyEncryption = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p" | "http://www.w3.org/2001/04/xmlenc#rsa-1_5";

/** `xml` with its Assertion as an EncryptedAssertion for the holder of `certificate` (PEM). */
export async function encryptAssertion(
  xml: string,
  certificate: string,
  algorithm: EncryptionAlgorithm = "http://www.w3.org/2009/xmlenc11#aes256-gcm",
  keyAlgorithm: KeyEncryption = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p",
): Promise<string> {
  const assertion = /<(saml:)?Assertion[^]*<\/\1Assertion>/.exec(xml)?.[0] ?? "";
  const options = {
    rsa_pub: String(createPublicKey(certificate).export({ type: "spki", format: "pem" })),
    pem: certificate,
    encryptionAlgorithm: algorithm,
    keyEncryptionAlgorithm: keyAlgorithm,
    warnInsecureAlgorithm: false,
  };
  const data = await promisify(encrypt)(assertion, options);
  return xml.replace(
    assertion,
    () =>
      `<saml:EncryptedAssertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">${data}</saml:EncryptedAssertion>`,
  );
}
