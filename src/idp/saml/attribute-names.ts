import type { SamlProvider } from "../../config/config.ts";

const WS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/";
const MICROSOFT = "http://schemas.microsoft.com/identity/claims/";
const AUTH0 = "http://schemas.auth0.com/";

/** What both sends under Microsoft's names for who somebody is. */
const PERSON = [
  [`${WS}emailaddress`, "email"],
  [`${WS}givenname`, "given_name"],
  [`${WS}surname`, "family_name"],
  [`${WS}upn`, "upn"],
] as const;

/** Microsoft, "SAML token claims reference" and "Customize SAML token claims". */
const ENTRA: ReadonlyMap<string, string> = new Map([
  ...PERSON,
  // The user principal name, unless an administrator says otherwise.
  [`${WS}name`, "preferred_username"],
  [`${MICROSOFT}tenantid`, "tid"],
  [`${MICROSOFT}objectidentifier`, "oid"],
  [`${MICROSOFT}displayname`, "name"],
  [`${MICROSOFT}identityprovider`, "idp"],
  ["http://schemas.microsoft.com/ws/2008/06/identity/claims/groups", "groups"],
  ["http://schemas.microsoft.com/ws/2008/06/identity/claims/role", "roles"],
  // Over 150 groups it comes in their place, with an address that nobody asks.
  ["http://schemas.microsoft.com/claims/groups.link", "hasgroups"],
]);

/** Auth0, "SAML2 web app add-on": the default mappings; what is not mapped comes under its own namespace. */
const AUTH0_NAMES: ReadonlyMap<string, string> = new Map([
  ...PERSON,
  [`${WS}nameidentifier`, "sub"],
  [`${WS}name`, "name"],
  [`${AUTH0}email_verified`, "email_verified"],
  [`${AUTH0}org_id`, "org_id"],
]);

/** Okta's attribute statements, and others', have the names that the administrator gave them. */
const AS_SENT: ReadonlyMap<string, string> = new Map();

/** Attribute name -> the claim's name in an ID token of the same provider. A name that is not there stays as it is. */
export function attributeNamesOf(kind: SamlProvider["kind"]): ReadonlyMap<string, string> {
  switch (kind) {
    case "entra":
      return ENTRA;
    case "auth0":
      return AUTH0_NAMES;
    case "okta":
    case "generic":
      return AS_SENT;
  }
}
