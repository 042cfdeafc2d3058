import { createHash, type KeyObject } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { DOMParser, type Element } from "@xmldom/xmldom";
import { SignedXml } from "xml-crypto";
import { Refusal } from "../flow/errors.ts";
import type { SignFederationToken } from "../flow/federation-token.ts";
import { ASSERTION, awsAttributes, samlResponse, type SamlSession } from "./saml-response.ts";
import { requireStsClaims } from "./sts-claims.ts";
import { lineEndsEscaped } from "./xml.ts";

const SIGNATURE = "http://www.w3.org/2000/09/xmldsig#";
const EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#";
const RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
const SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256";

/** SAMLAssertion: 100,000 characters at most, the base64 of the whole Response (AWS STS API reference, AssumeRoleWithSAML). */
const MAX_ASSERTION = 100_000;

/** xs:ID, of what we make them of: no digit in front. */
const XML_ID = /^[A-Za-z_][\w.-]*$/;

export interface SamlSigningKey {
  readonly keyId: string;
  readonly privateKey: KeyObject;
  /** As the metadata has it: DER, base64. */
  readonly certificate: string;
}

/**
 * Makes a SAML Response of the claims, signs its assertion with `key`, and returns it only when it holds against the
 * certificate that the metadata has for that key, and says exactly what it should: STS's message for most faults is
 * "Invalid base64 SAMLResponse". Rejects with a Refusal `federation_token_invalid` that names the rule.
 */
export function samlSigner(key: SamlSigningKey, settings: Pick<SamlSession, "samlProviderArn">): SignFederationToken {
  return (claims, durationSeconds) =>
    // A rejection is how whoever waits for it hears of a fault.
    Promise.resolve().then(() => {
      requireStsClaims(claims);
      if (!XML_ID.test(claims.jti)) throw invalid("the token's ID can't be that of an assertion");
      const session = { claims, durationSeconds, ...settings };
      const xml = signed(
        whole(() => samlResponse(session)),
        key,
      );
      requireSaid(verifiedAssertion(xml, key.certificate), session);
      const text = Buffer.from(xml).toString("base64");
      if (text.length > MAX_ASSERTION) throw invalid(`the assertion is longer than ${MAX_ASSERTION} characters`);
      return { text, sha256: createHash("sha256").update(text).digest("hex"), keyId: key.keyId };
    });
}

function invalid(what: string): Refusal {
  return new Refusal("federation_token_invalid", what);
}

function whole(build: () => string): string {
  try {
    return build();
  } catch {
    throw invalid("a value has a character that XML can't hold");
  }
}

/** Of the assertion, and not of the Response: STS wants the one, and nothing reads the other. */
function signed(xml: string, { privateKey, certificate }: SamlSigningKey): string {
  const signer = new SignedXml({
    privateKey,
    publicCert: pem(certificate),
    signatureAlgorithm: RSA_SHA256,
    canonicalizationAlgorithm: EXCLUSIVE,
  });
  const assertion = "/*/*[local-name(.)='Assertion']";
  signer.addReference({
    xpath: assertion,
    transforms: [`${SIGNATURE}enveloped-signature`, EXCLUSIVE],
    digestAlgorithm: SHA256,
  });
  // SAML Core 5.4.1: after the Issuer.
  const reference = `${assertion}/*[local-name(.)='Issuer']`;
  signer.computeSignature(xml, { prefix: "ds", location: { reference, action: "after" } });
  return lineEndsEscaped(signer.getSignedXml());
}

/** The assertion, read again from the very bytes that the signature covers. */
function verifiedAssertion(xml: string, certificate: string): Element {
  const [signature] = childrenOf(childrenOf(rootOf(xml), ASSERTION, "Assertion")[0], SIGNATURE, "Signature");
  const verifier = new SignedXml({ publicCert: pem(certificate) });
  if (!signature || !holds(verifier, signature, xml)) {
    throw invalid("the assertion fails its own check: the certificate has not made its signature");
  }
  const [text = "", ...more] = verifier.getSignedReferences();
  const assertion = rootOf(lineEndsEscaped(text));
  if (more.length > 0 || assertion.localName !== "Assertion") throw invalid("the signature covers something else");
  return assertion;
}

function holds(verifier: SignedXml, signature: Element, xml: string): boolean {
  try {
    verifier.loadSignature(signature);
    return verifier.checkSignature(xml);
  } catch {
    return false;
  }
}

/** Throws unless the signed assertion says what `session` says, and no more. */
function requireSaid(assertion: Element, session: SamlSession): void {
  const { iss, sub, aud, jti } = session.claims;
  const [subject] = childrenOf(assertion, ASSERTION, "Subject");
  const [confirmation] = childrenOf(subject, ASSERTION, "SubjectConfirmation");
  const [recipient] = childrenOf(confirmation, ASSERTION, "SubjectConfirmationData");
  const [statement] = childrenOf(assertion, ASSERTION, "AttributeStatement");
  const said = {
    id: assertion.getAttribute("ID"),
    issuer: childrenOf(assertion, ASSERTION, "Issuer").map(textOf),
    nameId: childrenOf(subject, ASSERTION, "NameID").map(textOf),
    recipient: recipient?.getAttribute("Recipient"),
    attributes: childrenOf(statement, ASSERTION, "Attribute").map((attribute) => [
      attribute.getAttribute("Name"),
      childrenOf(attribute, ASSERTION, "AttributeValue").map(textOf),
    ]),
  };
  const meant = { id: jti, issuer: [iss], nameId: [sub], recipient: aud, attributes: awsAttributes(session) };
  for (const [field, value] of Object.entries(meant)) {
    if (!isDeepStrictEqual(said[field as keyof typeof said], value)) {
      throw invalid(`the assertion fails its own check: it reads another ${field}`);
    }
  }
}

function rootOf(xml: string): Element {
  const root = new DOMParser().parseFromString(xml, "text/xml").documentElement;
  if (!root) throw invalid("the assertion fails its own check: it is no XML");
  return root;
}

function childrenOf(parent: Element | undefined, namespace: string, name: string): Element[] {
  const found: Element[] = [];
  for (let child = parent?.firstChild; child; child = child.nextSibling) {
    const element = child as Element;
    if (element.localName === name && element.namespaceURI === namespace) found.push(element);
  }
  return found;
}

function textOf(element: Element): string {
  return element.textContent ?? "";
}

/** RFC 7468. */
function pem(certificate: string): string {
  return `-----BEGIN CERTIFICATE-----\n${certificate.match(/.{1,64}/g)?.join("\n")}\n-----END CERTIFICATE-----\n`;
}
