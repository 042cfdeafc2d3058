import { createHash } from "node:crypto";
import type { Element } from "@xmldom/xmldom";
import { SignedXml } from "xml-crypto";
import type { z } from "zod";
import { requireStrongSignature } from "../idp/saml/shape.ts";
import { verifiedRoot } from "../idp/saml/verified-xml.ts";
import {
  childOf,
  childrenOf,
  DS,
  elementsOf,
  parseXml,
  readXml,
  SAML,
  SAMLP,
  type XmlElement,
} from "../idp/saml/xml.ts";
import type { DeployedSamlProvider } from "./role-template.ts";
import { sessionName, sessionTags, sourceIdentity, tagsOf, type FederatedIdentity } from "./session-tags.ts";
import { StsFault } from "./sts-fault.ts";

/** What STS takes from an assertion that it believes. */
export interface SamlIdentity extends FederatedIdentity {
  readonly issuer: string;
  /** `persistent`, `transient`, or a whole Format. */
  readonly subjectType: string;
  /** Stands for issuer, account and provider together. */
  readonly nameQualifier: string;
  readonly sessionName: string;
  /** Role and provider ARNs that may be used together. */
  readonly roles: readonly { readonly roleArn: string; readonly providerArn: string }[];
  /** SessionDuration, in seconds. */
  readonly sessionDuration: number | undefined;
  /** Epoch milliseconds. */
  readonly sessionNotOnOrAfter: number;
}

const PREFIX = "https://aws.amazon.com/SAML/Attributes/";
const TAG = "PrincipalTag:";
const FORMAT_PREFIX = "urn:oasis:names:tc:SAML:2.0:nameid-format:";
/** Milliseconds within which an assertion must be redeemed. */
const REDEEM = 5 * 60_000;
/** The sign-in address, of a region or not, in each partition (IAM user guide, "Configure SAML assertions"). */
const RECIPIENT =
  /^https:\/\/(?:[a-z]{2}(?:-[a-z]+)+-\d\.)?signin\.(?:aws\.amazon\.com|amazonaws\.cn|amazonaws-us-gov\.com)\/saml$/;
const AUDIENCE = "urn:amazon:webservices";

/**
 * The identity that the Response `assertion` (base64) proves to STS: an assertion that is signed by a certificate of the
 * registered metadata, from its issuer, for AWS, fresh, and well-formed as STS reads it. All of it is read from the bytes that the
 * assertion's signature covers. `now`: epoch milliseconds. Throws a {@link StsFault}.
 */
export function verifySamlAssertion(assertion: string, provider: DeployedSamlProvider, now: number): SamlIdentity {
  const { text, root } = readResponse(assertion);
  if (childrenOf(root, DS, "Signature").length > 0) requireSignedResponse(text, provider);
  const signed = signedAssertion(text, root, provider);
  const issuer = childOf(signed, SAML, "Issuer")?.text ?? unreadable();
  if (issuer !== provider.metadata.issuer) throw invalid("Issuer not present in specified provider");
  return { ...aboutWhom(signed, issuer, provider, now), ...readAttributes(signed) };
}

function readResponse(assertion: string): { text: string; root: XmlElement } {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(assertion)) return unreadable();
  try {
    const response = readXml(Buffer.from(assertion, "base64"));
    const { root } = response;
    const status = childOf(childOf(root, SAMLP, "Status"), SAMLP, "StatusCode")?.attributes.get("Value");
    const whole = root.name === "Response" && root.namespace === SAMLP && status?.endsWith(":Success");
    return whole ? response : unreadable();
  } catch {
    return unreadable();
  }
}

/** The Response's own signature is not needed, and where there is one it must hold. */
function requireSignedResponse(text: string, { metadata }: DeployedSamlProvider): void {
  try {
    verifiedRoot(text, metadata.certificates);
  } catch {
    throw invalid("Response signature invalid");
  }
}

function signedAssertion(text: string, root: XmlElement, { metadata }: DeployedSamlProvider): XmlElement {
  const assertion = childOf(root, SAML, "Assertion") ?? unreadable();
  const [element] = elementsOf(parseXml(text), SAML, "Assertion");
  const [signature] = element ? elementsOf(element, DS, "Signature") : [];
  try {
    requireStrongSignature(assertion);
    for (const certificate of metadata.certificates) {
      const bytes = signature && signedBytes(text, signature, certificate);
      if (bytes !== undefined) return readXml(Buffer.from(bytes)).root;
    }
  } catch {
    // Weak, or not over the whole assertion.
  }
  throw invalid("Response signature invalid");
}

/** The canonical form of what was signed; undefined: not by this certificate. */
function signedBytes(text: string, signature: Element, certificate: string): string | undefined {
  const verifier = new SignedXml({ publicCert: certificate });
  try {
    verifier.loadSignature(signature);
    return verifier.checkSignature(text) ? verifier.getSignedReferences()[0] : undefined;
  } catch {
    return undefined;
  }
}

/** What AWS needs without saying so: Conditions, an AuthnStatement, a NameID with a Format, one confirmation. */
function aboutWhom(
  assertion: XmlElement,
  issuer: string,
  { account, name }: DeployedSamlProvider,
  now: number,
): Omit<SamlIdentity, keyof ReturnType<typeof readAttributes>> {
  const subject = childOf(assertion, SAML, "Subject");
  const nameId = childOf(subject, SAML, "NameID");
  const confirmation = childOf(childOf(subject, SAML, "SubjectConfirmation"), SAML, "SubjectConfirmationData");
  const conditions = childOf(assertion, SAML, "Conditions");
  const statement = childOf(assertion, SAML, "AuthnStatement");
  const format = nameId?.attributes.get("Format");
  const recipient = confirmation?.attributes.get("Recipient");
  if (!nameId?.text || format === undefined || recipient === undefined || !conditions || !statement)
    return unreadable();
  const audiences = childrenOf(childOf(conditions, SAML, "AudienceRestriction"), SAML, "Audience");
  const forAws = audiences.some(({ text }) => text === AUDIENCE || RECIPIENT.test(text));
  if (!RECIPIENT.test(recipient) || !forAws) throw invalid("Response does not contain the required audience");
  requireFresh(assertion, confirmation, conditions, now);
  const qualified = createHash("sha1").update(`${issuer}${account}/${name}`).digest("base64");
  return {
    tokenId: assertion.attributes.get("ID"),
    issuer,
    subject: nameId.text,
    subjectType: format.startsWith(FORMAT_PREFIX) ? format.slice(FORMAT_PREFIX.length) : format,
    nameQualifier: qualified,
    // "The value of the Recipient attribute" (STS API reference, AssumeRoleWithSAML).
    audience: recipient,
    sessionNotOnOrAfter: sessionEnd(statement, now),
  };
}

/** NotBefore is not looked at, and no clock's skew forgiven. */
function requireFresh(
  assertion: XmlElement,
  confirmation: XmlElement | undefined,
  conditions: XmlElement,
  now: number,
): void {
  const issued = instant(assertion.attributes.get("IssueInstant"));
  const ends = instant(confirmation?.attributes.get("NotOnOrAfter"));
  const until = conditions.attributes.get("NotOnOrAfter");
  const last = Math.min(ends, until === undefined ? Infinity : instant(until));
  if (now >= last || now > issued + REDEEM) {
    throw new StsFault("ExpiredTokenException", 400, "Token must be redeemed within 5 minutes of issuance");
  }
  if (issued > now + REDEEM) throw invalid("The assertion is not valid yet");
}

function sessionEnd(statement: XmlElement, now: number): number {
  const until = statement.attributes.get("SessionNotOnOrAfter");
  const ends = until === undefined ? Infinity : instant(until);
  if (ends <= now) throw new StsFault("ExpiredTokenException", 400, "The SAML session has ended");
  return ends;
}

function instant(text: string | undefined): number {
  const at = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/.test(text ?? "") ? Date.parse(text ?? "") : NaN;
  return Number.isNaN(at) ? unreadable() : at;
}

type Attributes = ReadonlyMap<string, readonly string[]>;

function readAttributes(
  assertion: XmlElement,
): Pick<SamlIdentity, "sessionName" | "roles" | "sessionDuration" | "tags" | "transitiveTagKeys" | "sourceIdentity"> {
  const attributes = awsAttributes(assertion);
  const principalTags = [...attributes].filter(([name]) => name.startsWith(TAG));
  const tags = sessionTags.safeParse({
    principal_tags: Object.fromEntries(principalTags.map(([name, values]) => [name.slice(TAG.length), values])),
    transitive_tag_keys: attributes.get("TransitiveTagKeys"),
  });
  if (!tags.success) throw invalid("The attribute PrincipalTag or TransitiveTagKeys is malformed");
  return {
    roles: (attributes.get("Role") ?? []).map(rolePair),
    sessionName:
      one(attributes, "RoleSessionName", sessionName) ?? malformed("RoleSessionName is required in AuthnResponse"),
    sessionDuration: sessionDuration(attributes),
    tags: tagsOf(tags.data),
    transitiveTagKeys: tags.data.transitive_tag_keys,
    sourceIdentity: one(attributes, "SourceIdentity", sourceIdentity),
  };
}

/** Those of AWS, by the rest of their names, whose case counts. */
function awsAttributes(assertion: XmlElement): Attributes {
  const found = new Map<string, readonly string[]>();
  const statements = childrenOf(assertion, SAML, "AttributeStatement");
  for (const attribute of statements.flatMap((statement) => childrenOf(statement, SAML, "Attribute"))) {
    const name = attribute.attributes.get("Name") ?? "";
    if (!name.startsWith(PREFIX)) continue;
    const key = name.slice(PREFIX.length);
    if (found.has(key)) malformed(`The attribute ${key} is given twice`);
    found.set(
      key,
      childrenOf(attribute, SAML, "AttributeValue").map(({ text }) => text),
    );
  }
  return found;
}

/** `roleArn,providerArn`, in either order. */
function rolePair(value: string): SamlIdentity["roles"][number] {
  const arns = value.split(",").map((arn) => arn.trim());
  const roleArn = arns.find((arn) => arn.includes(":role/"));
  const providerArn = arns.find((arn) => arn.includes(":saml-provider/"));
  if (arns.length !== 2 || roleArn === undefined || providerArn === undefined)
    return malformed("The attribute Role is malformed");
  return { roleArn, providerArn };
}

function sessionDuration(attributes: Attributes): number | undefined {
  const [value, ...more] = attributes.get("SessionDuration") ?? [];
  if (value === undefined) return undefined;
  const seconds = /^[0-9]{1,6}$/.test(value) && more.length === 0 ? Number(value) : 0;
  return seconds >= 900 && seconds <= 43_200 ? seconds : malformed("The attribute SessionDuration is malformed");
}

function one(attributes: Attributes, name: string, schema: z.ZodType<string>): string | undefined {
  const values = attributes.get(name);
  if (values === undefined) return undefined;
  const result = schema.safeParse(values.length === 1 ? values[0] : undefined);
  return result.success ? result.data : malformed(`${name} in AuthnResponse is malformed`);
}

/** AWS says so of nearly everything that it can't read. */
function unreadable(): never {
  throw invalid("Invalid base64 SAMLResponse");
}

function malformed(message: string): never {
  throw invalid(message);
}

function invalid(message: string): StsFault {
  return new StsFault("InvalidIdentityToken", 400, message);
}
