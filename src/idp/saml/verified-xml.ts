import { X509Certificate } from "node:crypto";
import type { Element } from "@xmldom/xmldom";
import { ExclusiveCanonicalization, SignedXml, type SignatureAlgorithm } from "xml-crypto";
import { refuse } from "../claim-rules.ts";
import { algorithmOf, requireStrongSignature } from "./shape.ts";
import { DS, elementOf, elementsOf, parseXml, readXml, type XmlElement } from "./xml.ts";
import type { XmlBounds } from "./xml-scan.ts";

/**
 * The root element of `text` (scanned before), read again from the very bytes that its signature covers. Throws
 * `saml_signature_invalid` unless one of `certificates` (PEM) made it over the whole root, by strong algorithms.
 */
export function verifiedRoot(text: string, certificates: readonly string[], bounds?: XmlBounds): XmlElement {
  requireStrongSignature(readXml(Buffer.from(text), bounds).root);
  const root = parseXml(text);
  const [signature] = elementsOf(root, DS, "Signature");
  for (const certificate of signersOf(root, certificates)) {
    const signed = signature && signedBy(text, signature, certificate);
    if (signed !== undefined) return readXml(Buffer.from(signed), bounds).root;
  }
  return refuse("saml_signature_invalid", "no certificate of the provider has made the signature");
}

/**
 * Those of `certificates` (PEM) that have signed the SignedInfo of `signed` (whose signature is strong by now), one at
 * least; throws `saml_signature_invalid` otherwise. That says nothing of what else stands there, and is asked first: all
 * else about a signature takes long where a stranger has written a document of thousands of parts.
 */
export function signersOf(signed: Element, certificates: readonly string[]): string[] {
  const [signature] = elementsOf(signed, DS, "Signature");
  const [info] = signature ? elementsOf(signature, DS, "SignedInfo") : [];
  const [value] = signature ? elementsOf(signature, DS, "SignatureValue") : [];
  const [method] = info ? elementsOf(info, DS, "SignatureMethod") : [];
  const algorithms: Readonly<Record<string, (new () => SignatureAlgorithm) | undefined>> = new SignedXml()
    .SignatureAlgorithms;
  const Algorithm = algorithms[algorithmOf(method && elementOf(method))];
  if (!info || !value || !Algorithm) return refuse("saml_signature_invalid", "a signature has not all of its parts");
  const canonical = new ExclusiveCanonicalization().process(info, {});
  const signers = certificates.filter((certificate) => {
    try {
      return new Algorithm().verifySignature(canonical, certificate, elementOf(value).text);
    } catch {
      // A certificate over a key of another kind.
      return false;
    }
  });
  if (signers.length > 0) return signers;
  return refuse("saml_signature_invalid", "no certificate of the provider has made the signature");
}

/** The canonical form of what was signed; undefined: not by this certificate. */
function signedBy(text: string, signature: Element, certificate: string): string | undefined {
  const verifier = new SignedXml({ publicCert: certificate });
  try {
    verifier.loadSignature(signature);
    if (!verifier.checkSignature(text)) return undefined;
  } catch {
    return undefined;
  }
  const [signed, ...more] = verifier.getSignedReferences();
  return more.length === 0 ? signed : undefined;
}

/** Those of `certificates` (PEM) that are valid at `now` (epoch milliseconds). Throws `idp_metadata_invalid` where none is. */
export function validCertificates(certificates: readonly string[], now: number): string[] {
  const valid = certificates.filter((pem) => {
    const { validFromDate, validToDate } = new X509Certificate(pem);
    return validFromDate.getTime() <= now && now < validToDate.getTime();
  });
  if (valid.length > 0) return valid;
  return refuse("idp_metadata_invalid", "every certificate of the provider has expired, or is not valid yet");
}
