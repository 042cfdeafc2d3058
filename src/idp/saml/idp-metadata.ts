import { X509Certificate } from "node:crypto";
import type { SamlProvider } from "../../config/config.ts";
import { Refusal } from "../../flow/errors.ts";
import { refuse } from "../claim-rules.ts";
import { idpFetch, requireSecure } from "../idp-fetch.ts";
import { CLOCK_SKEW, instantOf } from "./assertion.ts";
import { validCertificates, verifiedRoot } from "./verified-xml.ts";
import { childrenOf, DS, MD, readXml, SAMLP, type XmlElement } from "./xml.ts";
import type { XmlBounds } from "./xml-scan.ts";

const FRESH_MS = 60 * 60_000;
/** Between attempts while the provider's metadata can't be had and what was read before still serves. */
const RETRY_MS = 60_000;
const LAST_GOOD_MS = 24 * 60 * 60_000;
const TIMEOUT_MS = 10_000;

/** Metadata has other roles, languages and contacts in it; Entra ID's is the largest, with a hundred kilobytes. */
const METADATA_BOUNDS: XmlBounds = {
  bytes: 1024 * 1024,
  elements: 20_000,
  depth: 24,
  attributes: 24,
  comments: "skipped",
};

/** What is known of a provider now. */
export interface IdpFacts {
  /** Where people are sent to, by the provider's `requestBinding`. */
  readonly entryPoint: string;
  /** PEM, of which any may have signed; all valid now. */
  readonly certificates: readonly string[];
}

/**
 * What the configuration and the provider's metadata say. Metadata at a URL is read when it is first needed, and is fresh for
 * an hour; while it can't be had, or what comes can't be trusted, the last good one serves on, a day at most. Rejects with a Refusal:
 * `idp_unreachable`, `idp_metadata_invalid`. `now` gives epoch milliseconds.
 */
export function idpFacts(
  provider: SamlProvider,
  allowLoopbackHttp: boolean,
  now: () => number,
): () => Promise<IdpFacts> {
  let last: { facts: ReadFacts; readAt: number; askAgainAt: number } | undefined;
  let asking: Promise<void> | undefined;

  async function ask(): Promise<void> {
    try {
      last = {
        facts: await readFacts(provider, allowLoopbackHttp, now()),
        readAt: now(),
        askAgainAt: now() + FRESH_MS,
      };
    } catch (error) {
      if (!(error instanceof Refusal) || !last || now() >= last.readAt + LAST_GOOD_MS) throw error;
      last.askAgainAt = now() + RETRY_MS;
    }
  }

  return async () => {
    // One question for all who wait for it.
    if (!last || now() >= last.askAgainAt) {
      asking ??= ask().finally(() => {
        asking = undefined;
      });
      await asking;
    }
    const facts = last?.facts ?? refuse("idp_metadata_invalid", "nothing is known of the provider");
    if (facts.validUntil <= now() - CLOCK_SKEW) refuse("idp_metadata_invalid", "the provider's metadata has expired");
    return { entryPoint: facts.entryPoint, certificates: validCertificates(facts.certificates, now()) };
  };
}

interface ReadFacts extends IdpFacts {
  /** Epoch milliseconds. */
  readonly validUntil: number;
}

async function readFacts(provider: SamlProvider, allowLoopbackHttp: boolean, now: number): Promise<ReadFacts> {
  const { metadata, certificates: pinned } = provider;
  const published = metadata && readMetadata(provider, await metadataRoot(metadata, allowLoopbackHttp));
  if (published && published.validUntil <= now - CLOCK_SKEW) invalid("has expired");
  const entryPoint = provider.entryPoint ?? published?.entryPoint;
  if (entryPoint === undefined) return invalid(`has no SingleSignOnService for ${provider.requestBinding}`);
  requireSecure(entryPoint, allowLoopbackHttp);
  return {
    entryPoint,
    // Where both are there, whoever answers for the metadata may choose among the configured ones and add none.
    certificates: pinned.length > 0 ? pinned : (published?.certificates ?? []),
    validUntil: published?.validUntil ?? Infinity,
  };
}

type Metadata = NonNullable<SamlProvider["metadata"]>;

/** The document's root, once it is one that counts: a file of ours, signed by whom we know, or beside pinned certificates. */
async function metadataRoot(metadata: Metadata, allowLoopbackHttp: boolean): Promise<XmlElement> {
  try {
    if ("text" in metadata) return readXml(Buffer.from(metadata.text), METADATA_BOUNDS).root;
    const { text, root } = readXml(await download(metadata.url, allowLoopbackHttp), METADATA_BOUNDS);
    return metadata.signedBy.length === 0 ? root : verifiedRoot(text, metadata.signedBy, METADATA_BOUNDS);
  } catch (error) {
    if (!(error instanceof Refusal) || error.code === "idp_unreachable") throw error;
    return invalid(`can't be trusted: ${error.message}`);
  }
}

async function download(url: string, allowLoopbackHttp: boolean): Promise<Uint8Array> {
  const request = { allowLoopbackHttp, deadline: AbortSignal.timeout(TIMEOUT_MS) };
  const response = await idpFetch(request)(url, { method: "GET", headers: { accept: "application/samlmetadata+xml" } });
  if (!response.ok) invalid(`was answered with status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

interface Published {
  readonly entryPoint: string | undefined;
  readonly certificates: readonly string[];
  readonly validUntil: number;
}

/** SAML Metadata 2.3.2 and 2.4.3: of one entity, which is the configured one, its one role as identity provider. */
function readMetadata({ issuer, requestBinding }: SamlProvider, root: XmlElement): Published {
  if (root.name !== "EntityDescriptor" || root.namespace !== MD)
    invalid("is not that of one entity (EntityDescriptor)");
  if (root.attributes.get("entityID") !== issuer) invalid("is of another entityID than the issuer");
  const [role, ...more] = childrenOf(root, MD, "IDPSSODescriptor");
  const protocols = role?.attributes.get("protocolSupportEnumeration")?.split(/\s+/) ?? [];
  if (!role || more.length > 0 || !protocols.includes(SAMLP))
    return invalid("has no one IDPSSODescriptor for SAML 2.0");
  const binding = `urn:oasis:names:tc:SAML:2.0:bindings:${requestBinding}`;
  const services = childrenOf(role, MD, "SingleSignOnService").map(({ attributes }) => attributes);
  return {
    entryPoint: services.find((service) => service.get("Binding") === binding)?.get("Location"),
    certificates: signingCertificates(role),
    validUntil: Math.min(validUntilOf(root), validUntilOf(role)),
  };
}

function signingCertificates(role: XmlElement): string[] {
  const keys = childrenOf(role, MD, "KeyDescriptor").filter(({ attributes }) => attributes.get("use") !== "encryption");
  return keys
    .flatMap((key) => childrenOf(key, DS, "KeyInfo"))
    .flatMap((info) => childrenOf(info, DS, "X509Data"))
    .flatMap((data) => childrenOf(data, DS, "X509Certificate"))
    .map(({ text }) => strongCertificate(text.replaceAll(/\s+/g, "")));
}

/** Throws for a key that forgers could have: no half of a list is taken, since nobody would notice. */
function strongCertificate(base64: string): string {
  try {
    const certificate = new X509Certificate(Buffer.from(base64, "base64"));
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = certificate.publicKey;
    if (type === "rsa" && (details?.modulusLength ?? 0) >= 2048) return certificate.toString();
  } catch {
    // Not a certificate at all.
  }
  return invalid("has a certificate that is none, or not over an RSA key of 2048 bits at least");
}

function validUntilOf({ attributes }: XmlElement): number {
  const until = attributes.get("validUntil");
  return until === undefined ? Infinity : instantOf(until, "validUntil");
}

function invalid(what: string): never {
  return refuse("idp_metadata_invalid", `the provider's metadata ${what}`);
}
