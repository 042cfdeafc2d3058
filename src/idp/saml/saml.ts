import { randomBytes } from "node:crypto";
import { SAML as NodeSaml, type SamlConfig, ValidateInResponseTo } from "@node-saml/passport-saml";
import type { Element } from "@xmldom/xmldom";
import type { SamlProvider } from "../../config/config.ts";
import { type Claims, refuse } from "../claim-rules.ts";
import { checkAssertion, checkResponse, requireSuccess, type Expected, type Subject } from "./assertion.ts";
import { attributesOf, nameIdFormatOf, samlClaims } from "./claims.ts";
import { decryptedAssertion } from "./decrypt.ts";
import { idpFacts, type IdpFacts } from "./idp-metadata.ts";
import { checkLogoutRequest, type Logout } from "./logout-request.ts";
import { requireShape, requireStrongSignature } from "./shape.ts";
import { signersOf, verifiedRoot } from "./verified-xml.ts";
import { childrenOf, DS, elementOf, elementsOf, parseXml, readXml, SAML, type XmlElement } from "./xml.ts";

/** The broker's own keys as a SAML service provider: PEM, RSA. */
export interface SpKeys {
  readonly signing: { readonly privateKey: string; readonly certificate: string };
  readonly encryption: { readonly privateKey: string; readonly certificate: string };
}

export interface SamlOptions {
  /** `BASE/login/ID`: one for each provider, so that answers can't be mixed up. */
  readonly address: string;
  readonly keys: SpKeys;
  /** Development only. */
  readonly allowLoopbackHttp: boolean;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/** What must be remembered of a sign-in until the browser comes back. */
export interface PendingSaml {
  readonly requestId: string;
  /** Epoch milliseconds. */
  readonly requestedAt: number;
}

/** How the browser gets to the provider: by a redirect, or by a form that it posts there. */
export type BegunSaml =
  { readonly url: string } | { readonly action: string; readonly fields: Readonly<Record<string, string>> };

/** What a finished sign-in gave. */
export interface SamlAnswer {
  readonly claims: Claims;
  readonly subject: Subject;
}

/** One provider's web browser SSO (SAML Profiles 4.1). Rejections are Refusals, without a message or a name in them. */
export interface SamlClient {
  /** Where to send the browser with a signed AuthnRequest; `relayState` comes back with the answer. Refusal `idp_*`. */
  begin(relayState: string): Promise<{ readonly begun: BegunSaml; readonly pending: PendingSaml }>;
  /** The person's claims out of a SAMLResponse (base64). Refusals as of the steps, which are in the code's order. */
  finish(samlResponse: string, pending: PendingSaml): Promise<SamlAnswer>;
  /** Whose sign-in a SAMLRequest (base64), a signed LogoutRequest, ends. */
  logout(samlRequest: string): Promise<Logout>;
  /** The broker's metadata for this provider, XML. */
  metadata(): string;
}

/** A client of `provider`. Nothing is asked of the provider yet. */
export function samlClient(provider: SamlProvider, options: SamlOptions): SamlClient {
  const { address, now } = options;
  const facts = idpFacts(provider, options.allowLoopbackHttp, now);
  const logoutAddress = `${address}/slo`;

  return {
    async begin(relayState) {
      const idp = await facts();
      const pending = { requestId: `_${randomBytes(20).toString("hex")}`, requestedAt: now() };
      const saml = nodeSaml(provider, options, idp, () => pending.requestId);
      if (provider.requestBinding === "HTTP-Redirect") {
        return { begun: { url: await saml.getAuthorizeUrlAsync(relayState, undefined, {}) }, pending };
      }
      const fields = (await saml.getAuthorizeMessageAsync(relayState)) as Record<string, string>;
      return { begun: { action: idp.entryPoint, fields }, pending };
    },

    async finish(samlResponse, pending) {
      const response = readXml(fromBase64(samlResponse));
      requireShape(response.root, "Response");
      requireSuccess(response.root);
      const idp = await facts();
      const assertion = await verifiedAssertion(provider, options, idp, response, samlResponse);
      const expected = expectedOf(provider, `${address}/acs`, pending, now());
      checkResponse(response.root, expected);
      const subject = checkAssertion(assertion, expected);
      return { subject, claims: samlClaims(provider, attributesOf(assertion), subject.nameId) };
    },

    async logout(samlRequest) {
      const { text, root } = readXml(fromBase64(samlRequest));
      requireShape(root, "LogoutRequest");
      const { certificates } = await facts();
      return checkLogoutRequest(verifiedRoot(text, certificates), {
        issuer: provider.issuer,
        destination: logoutAddress,
        now: now(),
      });
    },

    metadata() {
      const { signing, encryption } = options.keys;
      // Where people are sent to and who signs there has no part in what we say about ourselves.
      const saml = nodeSaml(provider, options, { entryPoint: address, certificates: [signing.certificate] });
      return saml.generateServiceProviderMetadata(encryption.certificate, signing.certificate);
    },
  };
}

/**
 * The assertion, read from the very bytes that a certificate of the provider has signed. In order: what is to be
 * signed is, strongly and whole; the signature of the response, wherever there is one; an encrypted assertion is bounded
 * and built as it should be, too; who has signed; and then node-saml's own checks of signatures and wrapping, by the
 * certificates of those alone, whose verified text is all that is read.
 */
async function verifiedAssertion(
  provider: SamlProvider,
  options: SamlOptions,
  idp: IdpFacts,
  response: { readonly text: string; readonly root: XmlElement },
  samlResponse: string,
): Promise<XmlElement> {
  const { root, text } = response;
  const plain = childrenOf(root, SAML, "Assertion");
  const encrypted = childrenOf(root, SAML, "EncryptedAssertion");
  if (plain.length + encrypted.length !== 1) refuse("saml_malformed", "the response has not one assertion");
  const { certificates } = idp;
  const responseSigned = childrenOf(root, DS, "Signature").length > 0;
  if (provider.wantResponseSigned || responseSigned) verifiedRoot(text, certificates);
  const parsed = parseXml(text);
  const [assertion = await decrypted(options, response, responseSigned)] = elementsOf(parsed, SAML, "Assertion");
  requireStrongSignature(elementOf(assertion));
  const signers = [...signersOf(assertion, certificates), ...(responseSigned ? signersOf(parsed, certificates) : [])];
  const verifier = nodeSaml(provider, options, { ...idp, certificates: [...new Set(signers)] });
  const verified = readXml(Buffer.from(await nodeSamlVerified(verifier, samlResponse))).root;
  requireShape(verified, "Assertion");
  return verified;
}

async function decrypted(
  { keys }: SamlOptions,
  response: { readonly text: string; readonly root: XmlElement },
  responseSigned: boolean,
): Promise<Element> {
  const xml = await decryptedAssertion(response, keys.encryption.privateKey, responseSigned);
  const { text, root } = readXml(Buffer.from(xml));
  requireShape(root, "Assertion");
  return parseXml(text);
}

/** The signed text of the one assertion. What node-saml says against it goes no further: it may quote the message. */
async function nodeSamlVerified(saml: NodeSaml, samlResponse: string): Promise<string> {
  const answer = await saml.validatePostResponseAsync({ SAMLResponse: samlResponse }).catch(() => undefined);
  const assertion = answer?.profile?.getAssertionXml?.();
  return assertion ?? refuse("saml_signature_invalid", "no certificate of the provider has made the signature");
}

/**
 * node-saml, made anew for each operation, since request ID and certificates are that one's. Times, audience, issuer and
 * InResponseTo are turned off here: `assertion.ts` compares all of them, by our clock and with a reason for each.
 */
function nodeSaml(
  provider: SamlProvider,
  { address, keys }: SamlOptions,
  idp: IdpFacts,
  generateUniqueId: () => string = () => `_${randomBytes(20).toString("hex")}`,
): NodeSaml {
  const config: SamlConfig = {
    issuer: provider.spEntityId,
    callbackUrl: `${address}/acs`,
    logoutCallbackUrl: `${address}/slo`,
    entryPoint: idp.entryPoint,
    idpCert: [...idp.certificates],
    privateKey: keys.signing.privateKey,
    decryptionPvk: keys.encryption.privateKey,
    signatureAlgorithm: "sha256",
    digestAlgorithm: "sha256",
    authnRequestBinding: provider.requestBinding,
    // The binding by a form has no compression (Bindings 3.5.4).
    skipRequestCompression: provider.requestBinding === "HTTP-POST",
    identifierFormat: nameIdFormatOf(provider) ?? null,
    disableRequestedAuthnContext: true,
    forceAuthn: provider.forceAuthn,
    wantAssertionsSigned: true,
    wantAuthnResponseSigned: provider.wantResponseSigned,
    generateUniqueId,
    audience: false,
    acceptedClockSkewMs: -1,
    validateInResponseTo: ValidateInResponseTo.never,
  };
  return new NodeSaml(config);
}

function expectedOf(provider: SamlProvider, acs: string, pending: PendingSaml, now: number): Expected {
  const nameIdFormat = nameIdFormatOf(provider);
  return {
    issuer: provider.issuer,
    audience: provider.spEntityId,
    acs,
    requestId: pending.requestId,
    requestedAt: pending.requestedAt,
    ...(nameIdFormat !== undefined && { nameIdFormat }),
    forceAuthn: provider.forceAuthn,
    now,
  };
}

/** Some providers break it into lines. */
function fromBase64(text: string): Uint8Array {
  const base64 = text.replaceAll(/[\r\n]/g, "");
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64) || base64.length % 4 !== 0) {
    refuse("saml_malformed", "the message is not base64");
  }
  return Buffer.from(base64, "base64");
}
