import { X509Certificate } from "node:crypto";
import { childOf, childrenOf, DS, MD, readXml, type XmlElement } from "../../idp/saml/xml.ts";

/** What an identity provider has registered of the broker. */
export interface ServiceProvider {
  readonly entityId: string;
  /** Where answers go: its one AssertionConsumerService. */
  readonly acs: string;
  /** PEM. */
  readonly signing: readonly string[];
  /** PEM; undefined: nothing can be encrypted for it. */
  readonly encryption: string | undefined;
}

/**
 * The service provider whose metadata is at `url` (SAML Metadata 2.4.4), as it is now: real administrators upload it.
 * Rejects where it can't be had, or is no service provider's.
 */
export async function readServiceProvider(url: string): Promise<ServiceProvider> {
  const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
  if (!response.ok) throw new Error(`the service provider's metadata was answered with HTTP ${response.status}`);
  const { root } = readXml(new Uint8Array(await response.arrayBuffer()));
  const role = childOf(root, MD, "SPSSODescriptor");
  const service = childOf(role, MD, "AssertionConsumerService")?.attributes;
  const [entityId, acs] = [root.attributes.get("entityID"), service?.get("Location")];
  if (!role || entityId === undefined || acs === undefined) throw new Error("that is no service provider's metadata");
  return {
    entityId,
    acs,
    signing: certificatesFor(role, "signing"),
    encryption: certificatesFor(role, "encryption")[0],
  };
}

/** Of the keys with that use, and of those without any, which serve both. */
function certificatesFor(role: XmlElement, use: "signing" | "encryption"): string[] {
  return childrenOf(role, MD, "KeyDescriptor")
    .filter(({ attributes }) => (attributes.get("use") ?? use) === use)
    .flatMap((key) => childrenOf(key, DS, "KeyInfo"))
    .flatMap((info) => childrenOf(info, DS, "X509Data"))
    .flatMap((data) => childrenOf(data, DS, "X509Certificate"))
    .map(({ text }) => new X509Certificate(Buffer.from(text, "base64")).toString());
}
