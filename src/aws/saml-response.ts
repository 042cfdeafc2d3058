import type { FederationClaims } from "../flow/federation-token.ts";
import { element, type Xml } from "./xml.ts";

export const ASSERTION = "urn:oasis:names:tc:SAML:2.0:assertion";
const PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol";
const PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";
const ATTRIBUTES = "https://aws.amazon.com/SAML/Attributes";

/** Milliseconds that AWS's clock may be behind ours. */
const NOT_BEFORE = 60_000;

/** The address that AWS's sign-in has in a partition: Audience and Recipient of what it takes, and `saml:aud` of trust policies. */
export function samlAudience(region: string): string {
  if (region.startsWith("cn-")) return "https://signin.amazonaws.cn/saml";
  if (region.startsWith("us-gov-")) return "https://signin.amazonaws-us-gov.com/saml";
  return "https://signin.aws.amazon.com/saml";
}

export interface SamlSession {
  readonly claims: FederationClaims;
  readonly samlProviderArn: string;
  /** How long the session is to live; STS takes it as a bound. */
  readonly durationSeconds: number;
}

/**
 * The attributes by which STS makes a session, their values by name, in the order in which they are written (IAM user
 * guide, "Configure SAML assertions for the authentication response").
 */
export function awsAttributes({ claims, samlProviderArn, durationSeconds }: SamlSession): [string, string[]][] {
  const { principal_tags: tags, transitive_tag_keys: transitive } = claims["https://aws.amazon.com/tags"];
  const attributes: [string, readonly string[]][] = [
    ["Role", claims["https://aws.amazon.com/roles"].map((roleArn) => `${roleArn},${samlProviderArn}`)],
    ["RoleSessionName", [claims.sub]],
    ["SessionDuration", [String(durationSeconds)]],
    ["SourceIdentity", [claims["https://aws.amazon.com/source_identity"]]],
    ...Object.entries(tags).map(([key, value]): [string, readonly string[]] => [`PrincipalTag:${key}`, value]),
    ["TransitiveTagKeys", transitive],
  ];
  // An attribute without a value would be one that AWS can't read.
  const said = attributes.filter(([, values]) => values.length > 0);
  return said.map(([name, values]) => [`${ATTRIBUTES}/${name}`, [...values]]);
}

/**
 * An unsigned samlp:Response with one assertion that says to AWS what `claims` say: its ID is `jti`, and its Audience and
 * Recipient are `aud` (SAML Core 2.3.3, 3.3.3; Profiles 4.1.4.2). What STS needs without saying so is there too: Conditions, an
 * AuthnStatement, a Format of the NameID.
 */
export function samlResponse(session: SamlSession): string {
  const { iss, aud, iat, jti } = session.claims;
  const response = element(
    "samlp:Response",
    { "xmlns:samlp": PROTOCOL, ID: `${jti}-response`, Version: "2.0", IssueInstant: instant(iat), Destination: aud },
    element("saml:Issuer", { "xmlns:saml": ASSERTION }, iss),
    element("samlp:Status", {}, element("samlp:StatusCode", { Value: "urn:oasis:names:tc:SAML:2.0:status:Success" })),
    assertion(session),
  );
  return response.xml;
}

function assertion(session: SamlSession): Xml {
  const { iss, iat, jti } = session.claims;
  return element(
    "saml:Assertion",
    { "xmlns:saml": ASSERTION, ID: jti, Version: "2.0", IssueInstant: instant(iat) },
    element("saml:Issuer", {}, iss),
    subject(session.claims),
    conditions(session.claims),
    element(
      "saml:AuthnStatement",
      { AuthnInstant: instant(iat), SessionIndex: jti },
      element(
        "saml:AuthnContext",
        {},
        element("saml:AuthnContextClassRef", {}, "urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified"),
      ),
    ),
    element("saml:AttributeStatement", {}, ...awsAttributes(session).map(attribute)),
  );
}

/** The NameID is the session name: `saml:sub`, to which the shipped trust policy binds the session. */
function subject({ sub, aud, exp }: FederationClaims): Xml {
  return element(
    "saml:Subject",
    {},
    element("saml:NameID", { Format: PERSISTENT }, sub),
    element(
      "saml:SubjectConfirmation",
      { Method: "urn:oasis:names:tc:SAML:2.0:cm:bearer" },
      element("saml:SubjectConfirmationData", { NotOnOrAfter: instant(exp), Recipient: aud }),
    ),
  );
}

function conditions({ aud, iat, exp }: FederationClaims): Xml {
  return element(
    "saml:Conditions",
    { NotBefore: instant(iat - NOT_BEFORE / 1000), NotOnOrAfter: instant(exp) },
    element("saml:AudienceRestriction", {}, element("saml:Audience", {}, aud)),
  );
}

function attribute([name, values]: [string, readonly string[]]): Xml {
  const all = values.map((value) => element("saml:AttributeValue", {}, value));
  return element("saml:Attribute", { Name: name }, ...all);
}

/** xs:dateTime in UTC, of epoch seconds. */
function instant(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
