import { createHash } from "node:crypto";
import { createLocalJWKSet, errors, jwtVerify, type JSONWebKeySet } from "jose";
import { z } from "zod";
import { Refusal } from "../flow/errors.ts";
import type { FederationClaims, SignFederationToken } from "../flow/federation-token.ts";
import { MAX_TAGS, keyProblem, valueProblem } from "../flow/tag-limits.ts";
import type { IssuerDocuments } from "./issuer-documents.ts";
import type { Signer } from "./signer.ts";

/** WebIdentityToken: 20,000 characters at most (AWS STS API reference, AssumeRoleWithWebIdentity). */
const MAX_TOKEN = 20_000;
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
 * Signs with `signer` (the active one) and returns the token only when it holds against `documents`, the very ones
 * that are published: STS answers a wrong key, algorithm, audience or claim with one and the same message, so the
 * ledger could not tell them apart. Rejects with a Refusal `federation_token_invalid` that names the field or the rule.
 */
export function federationSigner(options: {
  readonly signer: Signer;
  readonly documents: IssuerDocuments;
  readonly audience: string;
  /** Epoch milliseconds. */
  readonly now?: () => number;
}): SignFederationToken {
  const { signer, documents, audience, now = Date.now } = options;
  // Through JSON, as IAM gets it.
  const published = JSON.parse(JSON.stringify(documents)) as typeof documents & { jwks: JSONWebKeySet };
  const keys = createLocalJWKSet(published.jwks);

  return async (claims) => {
    const jwt = await signed(signer, claims);
    try {
      await jwtVerify(jwt, keys, {
        algorithms: [...published.discovery.id_token_signing_alg_values_supported],
        issuer: published.discovery.issuer,
        audience,
        typ: "JWT",
        requiredClaims: ["iss", "sub", "aud", "iat", "exp", "jti"],
        currentDate: new Date(now()),
      });
    } catch (error) {
      throw new Refusal("federation_token_invalid", `the token fails its own check: ${faultOf(error)}`);
    }
    requireStsShape(claims, jwt);
    return { jwt, sha256: createHash("sha256").update(jwt).digest("hex"), keyId: signer.keyId };
  };
}

/** RFC 7515 7.1, compact serialization; by hand because a key in KMS signs over there, and jose only with keys here. */
async function signed(signer: Signer, claims: FederationClaims): Promise<string> {
  const header = { alg: signer.algorithm, kid: signer.keyId, typ: "JWT" };
  const input = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  const signature = await signer.sign(Buffer.from(input, "ascii"));
  return `${input}.${Buffer.from(signature).toString("base64url")}`;
}

function requireStsShape(claims: FederationClaims, jwt: string): void {
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
  if (jwt.length > MAX_TOKEN) throw invalid(`the token is longer than ${MAX_TOKEN} characters`);
}

/** The claim's name without what lies below it: tag keys may stand there, values never do. */
function fieldOf(error: z.ZodError): string {
  const [issue] = error.issues;
  if (issue?.code === "unrecognized_keys" && issue.path.length === 0) return issue.keys.join(", ");
  return issue?.path.slice(0, 2).join(" ") ?? "set";
}

/** jose's messages name the claim or the rule and hold no values (its `src/util/errors.ts`). */
function faultOf(error: unknown): string {
  return error instanceof errors.JOSEError ? `${error.code}: ${error.message}` : "unexpected error";
}
