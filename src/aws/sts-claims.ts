import { z } from "zod";
import { Refusal } from "../flow/errors.ts";
import type { FederationClaims } from "../flow/federation-token.ts";
import { MAX_TAGS, keyProblem, valueProblem } from "../flow/tag-limits.ts";

/** Seconds. Longer than we ever ask for would be a token worth stealing (law 7). */
const MAX_LIFETIME = 600;

const tagKey = z.string().refine((key) => keyProblem(key) === undefined);
const tagValue = z.string().refine((value) => valueProblem(value) === undefined);

/** What STS demands of the claims, and nothing beside them: an `azp` would take the place of `aud`. */
const stsClaims = z.strictObject({
  iss: z.string(),
  sub: z.string().regex(/^[\w+=,.@-]{2,64}$/),
  aud: z.string(),
  iat: z.int(),
  exp: z.int(),
  jti: z.string().min(1),
  "https://aws.amazon.com/tags": z.strictObject({
    principal_tags: z.record(tagKey, z.tuple([tagValue])).refine((tags) => Object.keys(tags).length <= MAX_TAGS),
    transitive_tag_keys: z.array(z.string()),
  }),
  "https://aws.amazon.com/source_identity": z.string(),
  "https://aws.amazon.com/roles": z.array(z.string().min(20).max(2048)).length(1),
});

/**
 * Throws a Refusal `federation_token_invalid` that names the claim or the rule, and holds no value, where STS would refuse
 * `claims`, or they would say more than the broker ever says.
 */
export function requireStsClaims(claims: FederationClaims): void {
  const invalid = (what: string): Refusal => new Refusal("federation_token_invalid", what);
  const result = stsClaims.safeParse(claims);
  if (!result.success) throw invalid(`STS would refuse the claim ${fieldOf(result.error)}`);
  const tags = result.data["https://aws.amazon.com/tags"];
  const { sub, iat, exp } = result.data;
  if (result.data["https://aws.amazon.com/source_identity"] !== sub) {
    throw invalid("the source identity is not the subject");
  }
  if (!tags.transitive_tag_keys.every((key) => Object.hasOwn(tags.principal_tags, key))) {
    throw invalid("a transitive tag key has no tag");
  }
  if (exp - iat > MAX_LIFETIME) throw invalid(`the token lives longer than ${MAX_LIFETIME} seconds`);
}

/** The claim's name without what lies below it: tag keys may stand there, values never do. */
function fieldOf(error: z.ZodError): string {
  const [issue] = error.issues;
  if (issue?.code === "unrecognized_keys" && issue.path.length === 0) return issue.keys.join(", ");
  return issue?.path.slice(0, 2).join(" ") ?? "set";
}
