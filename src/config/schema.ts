import { z } from "zod";
import { duration, id, secretReference, url } from "./fields.ts";
import { provider } from "./provider-schema.ts";

/**
 * The shape of rolecall.yaml, field by field: the check, the JSON Schema for editors and the types come from here.
 * What one field alone can't say (a domain under two directories, production's demands) is in `rules.ts`.
 */

const tagValue = z.string();

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
    federation: z
      .enum(["web-identity", "saml"])
      .default("web-identity")
      .meta({ description: "How STS is asked: as an OIDC provider, or as a SAML provider that AWS need not reach." }),
    samlProviderArn: z
      .string()
      .regex(
        /^arn:aws(?:-cn|-us-gov)?:iam::[0-9]{12}:saml-provider\/[\w.-]{1,128}$/,
        "must be an IAM SAML provider's ARN",
      )
      .optional()
      .meta({ description: "For saml: the IAM SAML provider, in the role's account, that stands for this broker." }),
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
