import { text } from "./response.ts";

/** A stand-in's metadata (SAML Metadata 2.4.3), unsigned; `certificates` are PEM. */
export function idpMetadataXml(facts: {
  readonly entityId: string;
  readonly entryPoint: string;
  readonly certificates: readonly string[];
  readonly validUntil?: Date;
}): string {
  const { entityId, entryPoint, certificates, validUntil } = facts;
  const keys = certificates.map(
    (pem) =>
      `<KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>` +
      `<ds:X509Certificate>${pem.replaceAll(/-----[A-Z ]+-----/g, "\t")}</ds:X509Certificate>` +
      `</ds:X509Data></ds:KeyInfo></KeyDescriptor>`,
  );
  const services = ["HTTP-POST", "HTTP-Redirect"].map(
    (binding) =>
      `<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:${binding}" Location="${text(entryPoint)}"/>`,
  );
  const until = validUntil ? ` validUntil="${validUntil.toISOString()}"` : "";
  return (
    `<?xml version="1.0" encoding="UTF-8"?>` +
    `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" ID="_metadata" entityID="${text(entityId)}"${until}>` +
    `<IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">` +
    `${keys.join("")}${services.join("")}</IDPSSODescriptor></EntityDescriptor>`
  );
}
