import { z } from "zod";

/**
 * The shape of rolecall.yaml, field by field: the check, the JSON Schema for editors and the types come from here.
 * What one field alone can't say (a domain under two directories, production's demands) is in `rules.ts`.
 */

/** `1h`, `30m`, `45s`, `2d` -> seconds. */
const duration = z
  .string()
  .regex(/^[1-9][0-9]{0,4}[smhd]$/, "must be a duration such as 30m or 12h")
  .meta({ description: "A duration: a whole number and s, m, h or d" });

/** A secret never stands in the file itself. */
const secretReference = z
  .union([z.strictObject({ env: z.string().min(1) }), z.strictObject({ file: z.string().min(1) })])
  .meta({ description: "Where the secret is: { env: NAME } or { file: PATH }" });

const id = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "must be lower-case letters, digits and hyphens");
const tagValue = z.string();

const provider = z.strictObject({
  id,
  kind: z.enum(["okta", "entra", "auth0", "generic"]),
  protocol: z.enum(["oidc"]),
  directory: id.optional(),
  label: z.string().min(1).max(64).optional(),
  issuer: z.url({ protocol: /^https?$/ }),
  clientId: z.string().min(1),
  clientAuth: z.enum(["client_secret_basic", "client_secret_post", "private_key_jwt"]).default("client_secret_basic"),
  /** For `client_secret_basic` and `client_secret_post`. */
  clientSecret: secretReference.optional(),
  /** For `private_key_jwt`: a PKCS #8 PEM; its `kid` is the RFC 7638 thumbprint. */
  clientKey: secretReference.optional(),
  scopes: z.array(z.string().min(1)).optional(),
  /** Auth0: the organization that the tenant's sign-in is pinned to. */
  organization: z.string().min(1).optional(),
  emailDomains: z.array(z.string().regex(/^(?:[a-z0-9-]+\.)+[a-z0-9-]+$/, "must be a domain in lower case")).min(1),
  claimsMaxAge: duration.default("1h"),
});

const tagSource = z.strictObject({
  claim: z.string().min(1),
  providers: z.array(id).min(1).optional(),
  match: z.record(z.string(), tagValue).optional(),
  pattern: z.string().min(1).optional(),
});

const tagRule = z.strictObject({
  required: z.boolean().optional(),
  from: z.array(tagSource),
  allowed: z.union([z.array(tagValue), z.strictObject({ file: z.string().min(1) })]).optional(),
  default: tagValue.optional(),
});

const accessRule = z.strictObject({
  provider: id,
  claim: z.string().min(1),
  match: z.array(z.string().min(1)).min(1),
});

export const configSchema = z.strictObject({
  environment: z.enum(["production", "development"]),
  baseUrl: z.url({ protocol: /^https?$/ }),
  listen: z
    .string()
    .regex(/^(?:\[[0-9a-fA-F:]+\]|[^:\s]+):[0-9]{1,5}$/, "must be ADDRESS:PORT")
    .default("127.0.0.1:4400"),
  trustProxy: z.int().min(0).max(10).default(0),
  stateDir: z.string().min(1),
  aws: z.strictObject({
    region: z.string().regex(/^[a-z]{2}(?:-[a-z]+)+-[0-9]$/, "must be an AWS region such as us-east-1"),
    roleArn: z
      .string()
      .min(20)
      .max(2048)
      .regex(
        /^arn:aws(?:-cn|-us-gov)?:iam::[0-9]{12}:role\/(?:[\w+=,.@-]+\/)*[\w+=,.@-]{1,64}$/,
        "must be a role's ARN",
      ),
    federation: z.enum(["web-identity"]).default("web-identity"),
    audience: z.string().min(1).max(255).default("sts.amazonaws.com"),
    sessionDuration: duration.default("1h"),
    signingAlgorithm: z.enum(["ES256", "RS256"]).default("ES256"),
    transitiveTags: z.array(z.string()).default([]),
    stsEndpoint: z.url({ protocol: /^https?$/ }).nullish(),
    /** What the shipped role template allows; `template aws/role` fills it in. */
    models: z.array(z.string().min(1)).default(["*"]),
  }),
  providers: z.array(provider).min(1),
  signInMaxAge: duration.default("12h"),
  tags: z.record(z.string(), tagRule),
  access: z
    .strictObject({
      auditor: z.array(accessRule).default([]),
      admin: z.array(accessRule).default([]),
      finance: z.array(accessRule).default([]),
    })
    .prefault({}),
  redis: z.strictObject({ url: secretReference }).optional(),
  ledger: z.strictObject({ url: secretReference }).optional(),
});

/** rolecall.yaml after the schema: defaults filled in, durations and references still as written. */
export type ConfigFile = z.infer<typeof configSchema>;
