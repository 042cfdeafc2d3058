import { type ClaimRules, emailVerifiedClaim, identifier } from "./claim-rules.ts";

/** A provider that keeps to OpenID Connect Core and adds nothing. */
export const genericRules: ClaimRules = {
  subject: (claims) => identifier(claims, "sub"),
  refuseForeignAccount: () => undefined,
  emailVerified: emailVerifiedClaim,
  leftOut: () => false,
  userinfoTellsMore: true,
};
