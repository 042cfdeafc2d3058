import { randomBytes } from "node:crypto";

/** What a stand-in says in a Response; times are epoch milliseconds. */
export interface ResponseFacts {
  /** The provider's entity ID. */
  readonly issuer: string;
  /** The ACS: Destination and Recipient. */
  readonly acs: string;
  /** The broker's entity ID. */
  readonly audience: string;
  readonly inResponseTo: string;
  readonly nameId: string;
  readonly nameIdFormat: string;
  /** Several values: a list. */
  readonly attributes: Readonly<Record<string, string | readonly string[]>>;
  readonly sessionIndex: string;
  readonly now: number;
}

const MINUTES = 60_000;

/** An unsigned samlp:Response with one assertion, as Okta, Entra ID and Auth0 write it (SAML Core; Profiles 4.1.4.2). */
export function responseXml(facts: ResponseFacts): string {
  const { issuer, acs, inResponseTo, now } = facts;
  return (
    `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="${newId()}" Version="2.0"` +
    ` IssueInstant="${instant(now)}" Destination="${text(acs)}" InResponseTo="${text(inResponseTo)}">` +
    `<saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">${text(issuer)}</saml:Issuer>` +
    `<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>` +
    `${assertionXml(facts)}</samlp:Response>`
  );
}

/** An unsigned samlp:Response that says no: the person was not let in (Core 3.2.2.2). */
export function deniedXml(facts: Pick<ResponseFacts, "issuer" | "acs" | "inResponseTo" | "now">): string {
  const { issuer, acs, inResponseTo, now } = facts;
  return (
    `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="${newId()}" Version="2.0"` +
    ` IssueInstant="${instant(now)}" Destination="${text(acs)}" InResponseTo="${text(inResponseTo)}">` +
    `<saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">${text(issuer)}</saml:Issuer>` +
    `<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Responder">` +
    `<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:AuthnFailed"/></samlp:StatusCode></samlp:Status>` +
    `</samlp:Response>`
  );
}

function assertionXml(facts: ResponseFacts): string {
  const { issuer, acs, audience, inResponseTo, nameId, nameIdFormat, sessionIndex, now } = facts;
  const until = instant(now + 5 * MINUTES);
  return (
    `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="${newId()}" Version="2.0"` +
    ` IssueInstant="${instant(now)}"><saml:Issuer>${text(issuer)}</saml:Issuer>` +
    `<saml:Subject><saml:NameID Format="${nameIdFormat}">${text(nameId)}</saml:NameID>` +
    `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">` +
    `<saml:SubjectConfirmationData InResponseTo="${text(inResponseTo)}" NotOnOrAfter="${until}"` +
    ` Recipient="${text(acs)}"/></saml:SubjectConfirmation></saml:Subject>` +
    `<saml:Conditions NotBefore="${instant(now - 5 * MINUTES)}" NotOnOrAfter="${until}">` +
    `<saml:AudienceRestriction><saml:Audience>${text(audience)}</saml:Audience></saml:AudienceRestriction>` +
    `</saml:Conditions><saml:AuthnStatement AuthnInstant="${instant(now)}" SessionIndex="${text(sessionIndex)}">` +
    `<saml:AuthnContext><saml:AuthnContextClassRef>` +
    `urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport` +
    `</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>` +
    `<saml:AttributeStatement>${Object.entries(facts.attributes).map(attributeXml).join("")}</saml:AttributeStatement>` +
    `</saml:Assertion>`
  );
}

function attributeXml([name, values]: [string, string | readonly string[]]): string {
  const all = typeof values === "string" ? [values] : values;
  const inner = all.map((value) => `<saml:AttributeValue>${text(value)}</saml:AttributeValue>`).join("");
  return `<saml:Attribute Name="${text(name)}">${inner}</saml:Attribute>`;
}

/** An unsigned LogoutRequest (Core 3.7.1) for the SLO address `destination`. */
export function logoutRequestXml(facts: {
  readonly issuer: string;
  readonly destination: string;
  readonly nameId: string;
  readonly sessionIndex?: string;
  readonly now: number;
}): string {
  const { issuer, destination, nameId, sessionIndex, now } = facts;
  const index = sessionIndex === undefined ? "" : `<samlp:SessionIndex>${text(sessionIndex)}</samlp:SessionIndex>`;
  return (
    `<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"` +
    ` xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="${newId()}" Version="2.0"` +
    ` IssueInstant="${instant(now)}" Destination="${text(destination)}"><saml:Issuer>${text(issuer)}</saml:Issuer>` +
    `<saml:NameID>${text(nameId)}</saml:NameID>${index}</samlp:LogoutRequest>`
  );
}

function newId(): string {
  return `_${randomBytes(16).toString("hex")}`;
}

/** xs:dateTime in UTC, to the millisecond. */
function instant(at: number): string {
  return new Date(at).toISOString();
}

/** As it must stand in text and between double quotes. */
export function text(value: string): string {
  return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
