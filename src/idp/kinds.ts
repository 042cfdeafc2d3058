import type { ProviderConfig } from "../config/config.ts";
import { auth0Rules } from "./auth0.ts";
import type { ClaimRules } from "./claim-rules.ts";
import { entraRules } from "./entra.ts";
import { genericRules } from "./generic.ts";
import { oktaRules } from "./okta.ts";

/** The one place where a kind of provider gets its rules: a new kind doesn't compile until it has some. */
export function claimRulesOf(kind: ProviderConfig["kind"]): ClaimRules {
  switch (kind) {
    case "okta":
      return oktaRules;
    case "entra":
      return entraRules;
    case "auth0":
      return auth0Rules;
    case "generic":
      return genericRules;
  }
}
