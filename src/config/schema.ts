import { z } from "zod";

/**
 * The shape of rolecall.yaml, field by field: the check, the JSON Schema for editors and the types come from here.
 * What one field alone can't say (a domain under two directories, production's demands) is in `rules.ts`.
 */

/** `1h`, `30m`, `45s`, `2d` -> seconds. */
const duration = z.string().regex(/^[1-9][0-9]{0,4}[smhd]$/, "must be a duration such as 30m or 12h");

/** A secret never stands in the file itself. */
const secretReference = z.union(
  [
    z.strictObject({
      env: z
        .string()
        .regex(/^[A-Za-z_][A-Za-z0-9_]*$/)
        .meta({ description: "Name of an environment variable." }),
    }),
    z.strictObject({
      file: z.string().min(1).meta({ description: "A path; one newline at the end of the file is left out." }),
    }),
  ],
  "must be { env: NAME } or { file: PATH }: a secret never stands in this file",
);

const id = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "must be lower-case letters, digits and hyphens");
const url = z.url({ protocol: /^https?$/ });
const tagValue = z.string();

const provider = z.strictObject({
  id: id.meta({ description: "Stands in URLs, sessions and the ledger. Choose once." }),
  kind: z
    .enum(["okta", "entra", "auth0", "generic"])
    .meta({ description: "What its claims look like, and which checks it needs." }),
  protocol: z.enum(["oidc"]).meta({ description: "How people sign in there." }),
  directory: id
    .optional()
    .meta({ description: "Providers that speak for the same people share one. Left out: the provider's id." }),
  label: z.string().min(1).max(64).optional().meta({ description: "What people read on the sign-in page." }),
  issuer: url.meta({ description: "Exactly as the provider writes it, a slash at the end included." }),
  clientId: z.string().min(1).meta({ description: "The client that was registered for Rolecall." }),
  clientAuth: z
    .enum(["client_secret_basic", "client_secret_post", "private_key_jwt"])
    .default("client_secret_basic")
    .meta({ description: "How Rolecall proves to the provider that it is that client." }),
  clientSecret: secretReference
    .optional()
    .meta({ description: "For client_secret_basic and client_secret_post: where the secret is." }),
  clientKey: secretReference
    .optional()
    .meta({ description: "For private_key_jwt: where the PKCS #8 PEM is; its kid is the RFC 7638 thumbprint." }),
  scopes: z
    .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, "must be one scope, without spaces"))
    .optional()
    .meta({
      description:
        "What is asked for; openid among them. Left out: openid, email, profile, and, but for generic, offline_access.",
    }),
  organization: z
    .string()
    .min(1)
    .optional()
    .meta({ description: "Auth0 only: the organization (org_…) that sign-ins are pinned to." }),
  emailDomains: z
    .array(z.string().regex(/^(?:[a-z0-9-]+\.)+[a-z0-9-]+$/, "must be a domain in lower case"))
    .min(1)
    .meta({ description: "The only domains that this provider may speak for." }),
  claimsMaxAge: duration
    .default("1h")
    .meta({ description: "How long its claims are relied on. After that it is asked again: fresh claims or nothing." }),
});

const tagSource = z.strictObject({
  claim: z.string().min(1).meta({ description: "A claim's name, or a JSON pointer (RFC 6901) such as /profile/team." }),
  providers: z.array(id).min(1).optional().meta({ description: "Listen to these providers only. Left out: to all." }),
  match: z
    .record(z.string(), tagValue)
    .optional()
    .meta({ description: "Claim value: tag value. Literal and exact; two different hits are refused." }),
  pattern: z.string().min(1).optional().meta({
    description: "RE2, anchored at both ends. The group named value, or else the whole match, is the tag's value.",
  }),
});

const tagRule = z.strictObject({
  required: z.boolean().optional().meta({ description: "No value, no credentials." }),
  from: z
    .array(tagSource)
    .meta({ description: "In order: the first whose claim is there speaks, and its answer is final." }),
  allowed: z
    .union(
      [
        z.array(tagValue),
        z.strictObject({
          file: z.string().min(1).meta({ description: "A CSV file: first column, below a header line." }),
        }),
      ],
      "must be a list of texts (numbers in quotes), or { file: PATH }",
    )
    .optional()
    .meta({ description: "The only values that this tag may have. Left out: any that AWS takes." }),
  default: tagValue.optional().meta({ description: "Speaks only when no source had a claim at all." }),
});

const accessRule = z.strictObject({
  provider: id.meta({ description: "The provider whose word counts." }),
  claim: z.string().min(1).meta({ description: "A claim's name, or a JSON pointer." }),
  match: z.array(z.string().min(1)).min(1).meta({ description: "One of these values gives the access." }),
});

export const configSchema = z.strictObject({
  environment: z.enum(["production", "development"]).meta({
    description:
      "production refuses plain http, loopback hosts, another STS and the in-memory store; development takes them.",
  }),
  baseUrl: url.meta({ description: "Where people reach the broker: scheme and host, nothing after." }),
  listen: z
    .string()
    .regex(/^(?:\[[0-9a-fA-F:]+\]|[^:\s]+):[0-9]{1,5}$/, "must be ADDRESS:PORT")
    .default("127.0.0.1:4400")
    .meta({ description: "ADDRESS:PORT that the broker listens on." }),
  trustProxy: z
    .int()
    .min(0)
    .max(10)
    .default(0)
    .meta({ description: "How many proxies in front set X-Forwarded-*; 0: none." }),
  stateDir: z.string().min(1).meta({ description: "Folder of the keys and the SQLite file." }),
  aws: z.strictObject({
    region: z
      .string()
      .regex(/^[a-z]{2}(?:-[a-z]+)+-[0-9]$/, "must be an AWS region such as us-east-1")
      .meta({ description: "The region whose STS is asked." }),
    roleArn: z
      .string()
      .min(20)
      .max(2048)
      .regex(
        /^arn:aws(?:-cn|-us-gov)?:iam::[0-9]{12}:role\/(?:[\w+=,.@-]+\/)*[\w+=,.@-]{1,64}$/,
        "must be a role's ARN",
      )
      .meta({ description: "The one role that everybody shares." }),
    federation: z.enum(["web-identity"]).default("web-identity").meta({ description: "How STS is asked." }),
    audience: z
      .string()
      .min(1)
      .max(255)
      .default("sts.amazonaws.com")
      .meta({ description: "aud of the federation token; one of the IAM OIDC provider's audiences." }),
    sessionDuration: duration
      .default("1h")
      .meta({ description: "How long credentials live: 30m to 12h, and no more than the role's maximum." }),
    signingAlgorithm: z
      .enum(["ES256", "RS256"])
      .default("ES256")
      .meta({ description: "Algorithm of new federation keys, at the first start and at a rotation." }),
    transitiveTags: z
      .array(z.string())
      .default([])
      .meta({ description: "Tags that stay on when the session assumes another role." }),
    stsEndpoint: url.nullish().meta({ description: "Development only: another STS." }),
    kmsEndpoint: url.nullish().meta({ description: "Development only: another KMS." }),
    models: z
      .array(z.string().min(1))
      .default(["*"])
      .meta({ description: "Bedrock model IDs that the shipped role template allows." }),
  }),
  providers: z.array(provider).min(1).meta({ description: "Where people sign in." }),
  signInMaxAge: duration.default("12h").meta({ description: "After this long a person signs in again." }),
  tags: z.record(z.string(), tagRule).meta({ description: "Session tags by key: where each one's value comes from." }),
  access: z
    .strictObject({
      auditor: z.array(accessRule).default([]).meta({ description: "Who may read the record." }),
      admin: z.array(accessRule).default([]).meta({ description: "Who may revoke and rebind." }),
      finance: z.array(accessRule).default([]).meta({ description: "Who may read costs." }),
    })
    .prefault({})
    .meta({ description: "The broker's own roles." }),
  stopDelay: duration.optional().meta({
    description:
      "How long a broker that is told to stop still serves, with /readyz at 503. Left out: 5s in production.",
  }),
  rateLimits: z
    .strictObject({
      perAddress: z.int().min(10).max(1_000_000).default(2000).meta({
        description: "Requests a minute from one address, of each kind: sign-in, callback, approval, token, rubbish.",
      }),
      perAccount: z
        .int()
        .min(10)
        .max(1_000_000)
        .default(600)
        .meta({ description: "Requests a minute for one person, of each kind: sign-in, token, API." }),
      signInsUnderWay: z
        .int()
        .min(10)
        .max(10_000_000)
        .default(100_000)
        .meta({ description: "Sign-ins begun in ten minutes by everybody together: what bounds the store." }),
    })
    .prefault({})
    .meta({ description: "What nobody honest meets." }),
  redis: z
    .strictObject({
      url: secretReference.meta({
        description:
          "Where the URL is: redis://, redis+sentinel:// or redis+cluster://, or rediss… for TLS; it may hold a password.",
      }),
    })
    .optional()
    .meta({ description: "Sessions and sign-ins under way. Production needs it; left out in development: in memory." }),
  ledger: z
    .strictObject({ url: secretReference.meta({ description: "Where the URL is; it may hold a password." }) })
    .optional()
    .meta({ description: "The record in PostgreSQL, for several brokers. Left out: an SQLite file in stateDir." }),
  checkpointKey: secretReference
    .optional()
    .meta({ description: "Where the key that signs the record's checkpoints is. Left out: in keys.json." }),
});

/** rolecall.yaml after the schema: defaults filled in, durations and references still as written. */
export type ConfigFile = z.infer<typeof configSchema>;
