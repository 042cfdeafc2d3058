import { refuse } from "../claim-rules.ts";
import { childOf, childrenOf, SAML, SAMLP, type XmlElement } from "./xml.ts";

/** What an answer must say to be the answer to our request. */
export interface Expected {
  /** The provider's entity ID. */
  readonly issuer: string;
  /** The broker's own entity ID. */
  readonly audience: string;
  /** Where answers are taken: Destination and Recipient. */
  readonly acs: string;
  readonly requestId: string;
  /** Epoch milliseconds. */
  readonly requestedAt: number;
  /** Left out: any format. */
  readonly nameIdFormat?: string;
  readonly forceAuthn: boolean;
  /** Epoch milliseconds. */
  readonly now: number;
}

/** What is kept of an assertion beside its attributes. */
export interface Subject {
  readonly assertionId: string;
  readonly nameId: string;
  readonly sessionIndex: string | undefined;
  /** Epoch milliseconds; from then on the assertion is worth nothing. */
  readonly notOnOrAfter: number;
}

/** Clocks of servers differ by seconds (milliseconds). */
export const CLOCK_SKEW = 60_000;

const BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
const SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success";
const ENTITY = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity";

/** The format of a NameID that is one person's for ever (Core 8.3.7). */
export const PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";

/** Throws `idp_denied` where the Response (built as it should be) tells of anything but success. */
export function requireSuccess(response: XmlElement): void {
  const status = childOf(childOf(response, SAMLP, "Status"), SAMLP, "StatusCode")?.attributes.get("Value");
  if (status !== SUCCESS) refuse("idp_denied", "the Status of the response is not Success");
}

/**
 * Returns where the Response itself is the answer to our request (Core 3.2.2, Bindings 3.5.5.2). It may be unsigned: then
 * this can only refuse. Throws `saml_malformed`, `issuer_mismatch`, `saml_not_for_us`, `saml_unsolicited`, `saml_expired`.
 */
export function checkResponse({ attributes, children }: XmlElement, expected: Expected): void {
  requireVersion(attributes);
  requireIssuer(children, expected.issuer);
  if (attributes.get("Destination") !== expected.acs) notForUs("the response's Destination is not our address");
  requireRequest(attributes.get("InResponseTo"), expected.requestId);
  requireIssuedNow(attributes.get("IssueInstant"), expected);
}

/**
 * Whom the assertion (verified, built as it should be) is about, once it is the answer to our request (Profiles 4.1.4.3).
 * Throws as {@link checkResponse} does, and `subject_missing`.
 */
export function checkAssertion(assertion: XmlElement, expected: Expected): Subject {
  const { attributes, children } = assertion;
  requireVersion(attributes);
  requireIssuer(children, expected.issuer);
  requireIssuedNow(attributes.get("IssueInstant"), expected);
  const assertionId = attributes.get("ID") ?? "";
  const subject = childOf(assertion, SAML, "Subject");
  const confirmedUntil = checkConfirmation(childOf(subject, SAML, "SubjectConfirmation"), expected);
  const conditionsUntil = checkConditions(childOf(assertion, SAML, "Conditions"), expected);
  const sessionIndex = checkAuthnStatement(childOf(assertion, SAML, "AuthnStatement"), expected);
  const nameId = nameIdOf(childOf(subject, SAML, "NameID"), expected);
  return { assertionId, nameId, sessionIndex, notOnOrAfter: Math.min(confirmedUntil, conditionsUntil) };
}

function requireVersion(attributes: XmlElement["attributes"]): void {
  if (attributes.get("Version") !== "2.0") refuse("saml_malformed", "the Version is not 2.0");
  if ((attributes.get("ID") ?? "") === "") refuse("saml_malformed", "an ID is missing");
}

export function requireIssuer(children: readonly XmlElement[], issuer: string): void {
  const [found] = children.filter(({ name }) => name === "Issuer");
  const format = found?.attributes.get("Format") ?? ENTITY;
  if (found?.text !== issuer || format !== ENTITY)
    refuse("issuer_mismatch", "the Issuer is not the provider's entity ID");
}

function requireRequest(inResponseTo: string | undefined, requestId: string): void {
  if (inResponseTo !== requestId) refuse("saml_unsolicited", "InResponseTo is not the request of this sign-in");
}

/** Made after we asked: the request's ID was unknown to anybody before. */
function requireIssuedNow(issueInstant: string | undefined, { requestedAt, now }: Expected): void {
  const issued = instantOf(issueInstant, "IssueInstant");
  if (issued < requestedAt - CLOCK_SKEW || issued > now + CLOCK_SKEW) {
    refuse("saml_expired", "the IssueInstant is before the request, or in the future");
  }
}

function checkConfirmation(confirmation: XmlElement | undefined, { acs, requestId, now }: Expected): number {
  if (confirmation?.attributes.get("Method") !== BEARER) notForUs("the SubjectConfirmation's Method is not bearer");
  const data = childOf(confirmation, SAML, "SubjectConfirmationData")?.attributes;
  if (data?.get("Recipient") !== acs) notForUs("the Recipient is not our address");
  requireRequest(data.get("InResponseTo"), requestId);
  if (data.has("NotBefore")) requireBegun(data.get("NotBefore"), now);
  return requireNotOver(data.get("NotOnOrAfter"), now);
}

function checkConditions(conditions: XmlElement | undefined, { audience, now }: Expected): number {
  for (const restriction of childrenOf(conditions, SAML, "AudienceRestriction")) {
    const named = childrenOf(restriction, SAML, "Audience").some(({ text }) => text === audience);
    if (!named) notForUs("our entity ID is not among the Audience");
  }
  requireBegun(conditions?.attributes.get("NotBefore"), now);
  return requireNotOver(conditions?.attributes.get("NotOnOrAfter"), now);
}

function checkAuthnStatement(statement: XmlElement | undefined, expected: Expected): string | undefined {
  const { now, requestedAt, forceAuthn } = expected;
  const attributes = statement?.attributes;
  const authenticated = instantOf(attributes?.get("AuthnInstant"), "AuthnInstant");
  if (authenticated > now + CLOCK_SKEW) refuse("saml_expired", "the AuthnInstant is in the future");
  if (forceAuthn && authenticated < requestedAt - CLOCK_SKEW) {
    refuse("saml_expired", "the person did not prove anew who they are, as ForceAuthn demands");
  }
  const ends = attributes?.get("SessionNotOnOrAfter");
  if (ends !== undefined) requireNotOver(ends, now);
  return attributes?.get("SessionIndex");
}

function nameIdOf(element: XmlElement | undefined, { nameIdFormat }: Expected): string {
  const nameId = element?.text ?? "";
  if (nameId === "") refuse("subject_missing", "the NameID is empty");
  if (nameIdFormat !== undefined && element?.attributes.get("Format") !== nameIdFormat) {
    refuse("subject_missing", "the NameID is not of the format that was asked for");
  }
  return nameId;
}

function requireBegun(notBefore: string | undefined, now: number): void {
  if (instantOf(notBefore, "NotBefore") > now + CLOCK_SKEW) refuse("saml_expired", "NotBefore is in the future");
}

function requireNotOver(notOnOrAfter: string | undefined, now: number): number {
  const ends = instantOf(notOnOrAfter, "NotOnOrAfter");
  if (ends <= now - CLOCK_SKEW) refuse("saml_expired", "NotOnOrAfter has passed");
  return ends;
}

/** SAML's times are in UTC (Core 1.3.3). One that is missing or unreadable bounds nothing, and so is refused. */
export function instantOf(text: string | undefined, name: string): number {
  const utc = text !== undefined && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/.test(text);
  const instant = utc ? Date.parse(text) : NaN;
  if (Number.isNaN(instant)) refuse("saml_expired", `${name} is missing or is no time in UTC`);
  return instant;
}

function notForUs(what: string): never {
  return refuse("saml_not_for_us", what);
}
