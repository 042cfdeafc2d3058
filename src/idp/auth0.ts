import { claimAt } from "../flow/identity.ts";
import { type ClaimRules, emailVerifiedClaim, identifier, refuse } from "./claim-rules.ts";

/** Auth0. One tenant may serve several organizations, so a pinned one must be the one that the person signed in to. */
export const auth0Rules: ClaimRules = {
  subject: (claims) => identifier(claims, "sub"),
  refuseForeignAccount: (provider, claims) => {
    if (provider.organization !== undefined && claimAt(claims, "org_id") !== provider.organization) {
      refuse("tenant_mismatch", "the claim org_id is not the provider's organization");
    }
  },
  emailVerified: emailVerifiedClaim,
  leftOut: () => false,
  userinfoTellsMore: true,
};
