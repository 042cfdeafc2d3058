import { refuse } from "../claim-rules.ts";
import { CLOCK_SKEW, instantOf, requireIssuer } from "./assertion.ts";
import { childOf, childrenOf, SAML, SAMLP, type XmlElement } from "./xml.ts";

/** A request may be under way for so long (milliseconds). */
const MAX_AGE = 5 * 60_000;

/** Whose sign-in ends. */
export interface Logout {
  readonly id: string;
  readonly nameId: string;
  /** Of these sessions alone; empty: of all. */
  readonly sessionIndexes: readonly string[];
}

/**
 * What the LogoutRequest (verified, built as it should be) asks for (SAML Core 3.7.1). Throws a Refusal where it is not the
 * provider's, not for us, or not of now.
 */
export function checkLogoutRequest(
  request: XmlElement,
  expected: { readonly issuer: string; readonly destination: string; readonly now: number },
): Logout {
  const { attributes, children } = request;
  const { now } = expected;
  if (attributes.get("Version") !== "2.0") refuse("saml_malformed", "the Version is not 2.0");
  requireIssuer(children, expected.issuer);
  if (attributes.get("Destination") !== expected.destination) {
    refuse("saml_not_for_us", "the request's Destination is not our address");
  }
  const issued = instantOf(attributes.get("IssueInstant"), "IssueInstant");
  if (issued > now + CLOCK_SKEW || issued < now - MAX_AGE) refuse("saml_expired", "the IssueInstant is not of now");
  const ends = attributes.get("NotOnOrAfter");
  if (ends !== undefined && instantOf(ends, "NotOnOrAfter") <= now - CLOCK_SKEW) {
    refuse("saml_expired", "NotOnOrAfter has passed");
  }
  const nameId = childOf(request, SAML, "NameID")?.text ?? "";
  if (nameId === "") refuse("subject_missing", "the NameID is empty");
  return {
    id: attributes.get("ID") ?? "",
    nameId,
    sessionIndexes: childrenOf(request, SAMLP, "SessionIndex").map(({ text }) => text),
  };
}
