import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What other people's programs say of our XML: xmlsec1, and xmllint with OASIS's schemas (Debian: opensaml-schemas). */

const SCHEMAS = "/usr/share/xml";

/** The schemas name one another by addresses; here they are on the disk. */
const CATALOG = `<catalog xmlns="urn:oasis:names:tc:entity:xmlns:xml:catalog">${[
  ["http://www.w3.org/TR/2002/REC-xmldsig-core-20020212/xmldsig-core-schema.xsd", "xmldsig-core-schema.xsd"],
  ["http://www.w3.org/TR/2002/REC-xmlenc-core-20021210/xenc-schema.xsd", "xenc-schema.xsd"],
  ["http://www.w3.org/2001/xml.xsd", "xml.xsd"],
]
  .map(([id, file]) => `<system systemId="${id}" uri="file://${SCHEMAS}/xmltooling/${file}"/>`)
  .join("")}</catalog>`;

/** undefined: valid; else what xmllint says. */
export function schemaFault(xml: string, schema: "metadata" | "protocol"): string | undefined {
  using folder = scratch({ "it.xml": xml, "catalog.xml": CATALOG });
  const { status, stderr } = spawnSync(
    "xmllint",
    ["--nonet", "--noout", "--schema", `${SCHEMAS}/opensaml/saml-schema-${schema}-2.0.xsd`, folder.file("it.xml")],
    { encoding: "utf8", env: { ...process.env, XML_CATALOG_FILES: folder.file("catalog.xml") } },
  );
  return status === 0 ? undefined : stderr || "xmllint could not be run";
}

/** Whether xmlsec1 finds the assertion of `xml` signed by the key of `certificate` (DER, base64), and by no other. */
export function xmlsecVerifies(xml: string, certificate: string): boolean {
  const pem = `-----BEGIN CERTIFICATE-----\n${certificate.match(/.{1,64}/g)?.join("\n")}\n-----END CERTIFICATE-----\n`;
  using folder = scratch({ "it.xml": xml, "certificate.pem": pem });
  const id = "urn:oasis:names:tc:SAML:2.0:assertion:Assertion";
  const { status, error } = spawnSync("xmlsec1", [
    ...["--verify", "--enabled-key-data", "rsa", "--pubkey-cert-pem", folder.file("certificate.pem")],
    ...["--id-attr:ID", id, folder.file("it.xml")],
  ]);
  if (error) throw error;
  return status === 0;
}

/** The certificates of SAML metadata (DER, base64), in their order. */
export function certificatesOf(metadata: string): string[] {
  return [...metadata.matchAll(/<ds:X509Certificate>([^<]+)</g)].map(([, certificate = ""]) => certificate);
}

function scratch(files: Readonly<Record<string, string>>): Disposable & { file(name: string): string } {
  const folder = mkdtempSync(join(tmpdir(), "rolecall-xml-"));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return {
    file: (name) => join(folder, name),
    [Symbol.dispose]: () => {
      rmSync(folder, { recursive: true });
    },
  };
}
