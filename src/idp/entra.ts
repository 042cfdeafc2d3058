import type { ProviderConfig } from "../config/config.ts";
import { claimAt, type JsonValue } from "../flow/identity.ts";
import { type ClaimRules, type Claims, identifier, readsClaim, refuse, text } from "./claim-rules.ts";

const GUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Entra ID. `sub` differs from application to application, and `email` can be edited by the tenant's admins without
 * proof ("nOAuth"): a person is `tid/oid`, and an email counts only with a proof beside it.
 */
export const entraRules: ClaimRules = {
  subject: (claims) => `${guid(claims, "tid")}/${guid(claims, "oid")}`,
  refuseForeignAccount: (provider, claims) => {
    // The key set of Entra ID serves every tenant: the signature alone doesn't say whose account this is.
    if (guid(claims, "tid") !== tenantOf(provider))
      refuse("tenant_mismatch", "the claim tid is not the issuer's tenant");
    if (isGuest(claims, tenantOf(provider))) refuse("guest_refused", "the account is a guest in its tenant");
  },
  emailVerified: (claims) => {
    const verified = claimAt(claims, "xms_edov");
    if (verified === true || verified === 1 || verified === "1" || verified === "true") return true;
    // A user principal name is of a domain that the tenant has proved to own.
    const email = text(claims, "email")?.toLowerCase();
    return email !== undefined && names(claims).some((name) => name.toLowerCase() === email);
  },
  // Beside `_claim_names`, which means the same at every kind of provider.
  leftOut: (claims, path) => hasOverage(claims) && readsClaim(path, "groups"),
  // Its userinfo endpoint is Microsoft Graph's, and can't be configured; the ID token holds all that it would say.
  userinfoTellsMore: false,
};

/** `https://login.microsoftonline.com/TENANT/v2.0`: the tenant in lower case; `common` equals no tenant's ID. */
function tenantOf(provider: ProviderConfig): string | undefined {
  return new URL(provider.issuer).pathname.split("/")[1]?.toLowerCase();
}

/** In lower case: two spellings of one GUID must not make two people. */
function guid(claims: Claims, name: string): string {
  const value = identifier(claims, name).toLowerCase();
  if (!GUID.test(value)) refuse("subject_missing", `the claim ${name} must be a GUID`);
  return value;
}

function names(claims: Claims): string[] {
  return ["upn", "preferred_username"].flatMap((name) => text(claims, name) ?? []);
}

/**
 * `acct`, `upn` and `idp` are optional claims: each of them that is there must say "member". `idp` comes where another
 * directory proved who the person is (Microsoft, "Optional claims reference" and "ID token claims reference").
 */
function isGuest(claims: Claims, tenant: string | undefined): boolean {
  const account = claimAt(claims, "acct");
  if (account !== undefined && account !== 0 && account !== "0") return true;
  if (names(claims).some((name) => name.toUpperCase().includes("#EXT#"))) return true;
  const home = claimAt(claims, "idp");
  return home !== undefined && !issuersOf(tenant).includes(home);
}

/**
 * As Entra ID writes them, in both versions of its tokens. A part of it proves nothing: a partner's own provider is
 * named by an address of the partner's choice.
 */
function issuersOf(tenant = ""): JsonValue[] {
  return [`https://sts.windows.net/${tenant}/`, `https://login.microsoftonline.com/${tenant}/v2.0`];
}

function hasOverage(claims: Claims): boolean {
  const marked = claimAt(claims, "hasgroups");
  return marked !== undefined && marked !== false && marked !== "false";
}
