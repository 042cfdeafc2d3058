import { claimAt } from "../flow/identity.ts";
import { type ClaimRules, emailVerifiedClaim, identifier, readsClaim } from "./claim-rules.ts";

/** Past this many groups Okta fails or truncates, without a mark in the token: a list so long may be cut. */
const MAX_GROUPS = 100;

/** Okta, both the org's own authorization server and custom ones. */
export const oktaRules: ClaimRules = {
  subject: (claims) => identifier(claims, "sub"),
  refuseForeignAccount: () => undefined,
  emailVerified: emailVerifiedClaim,
  leftOut: (claims, path) => {
    const read = [claimAt(claims, path)];
    for (const [name, claim] of Object.entries(claims)) if (readsClaim(path, name)) read.push(claim);
    return read.some((value) => Array.isArray(value) && value.length >= MAX_GROUPS);
  },
  userinfoTellsMore: true,
};
