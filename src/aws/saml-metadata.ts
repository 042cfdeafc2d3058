import { element } from "./xml.ts";

/**
 * The broker as AWS knows it, a SAML identity provider: what is uploaded as the IAM SAML provider's metadata document (SAML
 * Metadata 2.4.3). `certificates` (DER, base64): the active key's first; of the others AWS takes assertions as well, so
 * that a prepared key is known before it signs. The sign-in address is the broker's home page, since the schema wants one and
 * AWS asks nobody.
 */
export function samlMetadata(issuer: string, certificates: readonly string[]): string {
  const entity = element(
    "EntityDescriptor",
    { xmlns: "urn:oasis:names:tc:SAML:2.0:metadata", entityID: issuer },
    element(
      "IDPSSODescriptor",
      { protocolSupportEnumeration: "urn:oasis:names:tc:SAML:2.0:protocol", WantAuthnRequestsSigned: "false" },
      ...certificates.map((certificate) =>
        element(
          "KeyDescriptor",
          { use: "signing" },
          element(
            "ds:KeyInfo",
            { "xmlns:ds": "http://www.w3.org/2000/09/xmldsig#" },
            element("ds:X509Data", {}, element("ds:X509Certificate", {}, certificate)),
          ),
        ),
      ),
      element("NameIDFormat", {}, "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"),
      element("SingleSignOnService", {
        Binding: "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST",
        Location: new URL("/", issuer).href,
      }),
    ),
  );
  return `<?xml version="1.0" encoding="UTF-8"?>${entity.xml}`;
}
