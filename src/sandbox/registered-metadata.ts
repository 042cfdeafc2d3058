import { X509Certificate } from "node:crypto";
import { childOf, childrenOf, DS, MD, readXml, SAMLP } from "../idp/saml/xml.ts";

/** What IAM keeps of a SAML provider's metadata document. */
export interface RegisteredMetadata {
  readonly issuer: string;
  /** PEM: of whichever has signed, IAM takes it. */
  readonly certificates: readonly string[];
}

/**
 * Reads a metadata document as IAM does when a SAML provider is made (IAM API reference, CreateSAMLProvider). Throws where
 * IAM would refuse it.
 */
export function registeredMetadata(document: string): RegisteredMetadata {
  const { root } = readXml(Buffer.from(document));
  const role = childOf(root, MD, "IDPSSODescriptor");
  const issuer = root.attributes.get("entityID");
  if (root.name !== "EntityDescriptor" || issuer === undefined || !role)
    return refuse("no EntityDescriptor of one provider");
  if (role.attributes.get("protocolSupportEnumeration")?.split(" ").includes(SAMLP) !== true)
    refuse("no protocol SAML 2.0");
  if (childrenOf(role, MD, "SingleSignOnService").length === 0) refuse("no SingleSignOnService");
  const certificates = childrenOf(role, MD, "KeyDescriptor")
    .filter(({ attributes }) => attributes.get("use") !== "encryption")
    .flatMap((key) => childrenOf(key, DS, "KeyInfo"))
    .flatMap((info) => childrenOf(info, DS, "X509Data"))
    .flatMap((data) => childrenOf(data, DS, "X509Certificate"))
    .map(({ text }) => new X509Certificate(Buffer.from(text, "base64")).toString());
  if (certificates.length === 0) refuse("no certificate that signs");
  return { issuer, certificates };
}

function refuse(what: string): never {
  throw new Error(`IAM would not take the metadata document: it has ${what}`);
}
