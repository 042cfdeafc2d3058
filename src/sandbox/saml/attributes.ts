import type { JsonValue } from "../../flow/identity.ts";
import { ENTRA_TENANT, type Directory, type Person } from "../people.ts";
import type { ResponseFacts } from "./response.ts";

/** Whom an assertion is about, and what it says of them. */
export type SamlPerson = Pick<ResponseFacts, "nameId" | "nameIdFormat" | "attributes">;

const WS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/";
const MICROSOFT = "http://schemas.microsoft.com/identity/claims/";
const MICROSOFT_2008 = "http://schemas.microsoft.com/ws/2008/06/identity/claims/";
const AUTH0 = "http://schemas.auth0.com/";

const UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified";
const EMAIL_ADDRESS = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress";

/** The attribute statements that an administrator of Okta would write: it has no word for a verified email. */
const OKTA_STATEMENTS = ["email", "name", "groups", "department", "costCenter"];

/** Microsoft, "SAML token claims reference": `name` is the user principal name. */
const ENTRA_CLAIMS: Readonly<Record<string, string>> = {
  tid: `${MICROSOFT}tenantid`,
  oid: `${MICROSOFT}objectidentifier`,
  name: `${MICROSOFT}displayname`,
  email: `${WS}emailaddress`,
  upn: `${WS}name`,
  groups: `${MICROSOFT_2008}groups`,
  roles: `${MICROSOFT_2008}role`,
  costCenter: "costCenter",
};

/** Auth0, "SAML2 web app add-on": its default mappings; what it does not map goes under its own namespace. */
const AUTH0_MAPPINGS: Readonly<Record<string, string>> = { email: `${WS}emailaddress`, name: `${WS}name` };

/** What a provider of `kind` says of `person` in an assertion. */
export function samlPerson(kind: Directory["kind"], person: Person): SamlPerson {
  const { claims, email, subject } = person;
  switch (kind) {
    case "okta": {
      const statements = Object.entries(claims).filter(([name]) => OKTA_STATEMENTS.includes(name));
      return { nameId: email, nameIdFormat: UNSPECIFIED, attributes: { sub: subject, ...asAttributes(statements) } };
    }
    case "entra":
      return {
        nameId: valuesOf(claims["upn"] ?? "").join(),
        nameIdFormat: EMAIL_ADDRESS,
        attributes: entraAttributes(claims),
      };
    case "auth0": {
      const named = Object.entries(claims).map(([name, value]) => [auth0Name(name), value] as const);
      const attributes = { [`${WS}nameidentifier`]: subject, ...asAttributes(named) };
      return { nameId: subject, nameIdFormat: UNSPECIFIED, attributes };
    }
  }
}

/** Over 150 groups, an address of Microsoft Graph comes in their place. */
function entraAttributes(claims: Person["claims"]): ResponseFacts["attributes"] {
  const named = Object.entries(claims).flatMap(([name, value]) => {
    const uri = ENTRA_CLAIMS[name];
    return uri === undefined ? [] : [[uri, value] as const];
  });
  const home = claims["acct"] === 0 ? ENTRA_TENANT : "9b1c7f2e-0d53-4a86-b1de-5f60718293a4";
  const overage = "_claim_names" in claims;
  return {
    ...asAttributes(named),
    [`${MICROSOFT}identityprovider`]: `https://sts.windows.net/${home}/`,
    ...(overage && {
      "http://schemas.microsoft.com/claims/groups.link":
        "https://graph.windows.net/never-to-be-fetched/getMemberObjects",
    }),
  };
}

/** What an Action has set under a namespace of the company's own keeps its name. */
function auth0Name(claim: string): string {
  return AUTH0_MAPPINGS[claim] ?? (claim.includes("://") ? claim : `${AUTH0}${claim}`);
}

function asAttributes(claims: Iterable<readonly [string, JsonValue]>): Record<string, string[]> {
  return Object.fromEntries(Array.from(claims, ([name, value]) => [name, valuesOf(value)]));
}

/** SAML has text only. */
function valuesOf(value: JsonValue): string[] {
  return [value].flat().map((item) => (typeof item === "string" ? item : JSON.stringify(item)));
}
