import { z } from "zod";
import { REASONS, type ReasonCode } from "../flow/errors.ts";

/** The shapes of the API, from which the types of its answers and the OpenAPI document both come. */

const instant = z.iso
  .datetime({ precision: 0 })
  .meta({ description: "UTC, whole seconds", example: "2026-11-22T21:00:00Z" });
const tags = z.record(z.string(), z.string()).meta({ description: "Session tags, by key" });
const sessionArn = z
  .string()
  .meta({ example: "arn:aws:sts::111122223333:assumed-role/BedrockShared/jane@acme.example" });
const trace = z
  .array(
    z.strictObject({
      tag: z.string(),
      rule: z.string(),
      claim: z.string().optional(),
      value: z.string().optional(),
      outcome: z.string(),
    }),
  )
  .readonly()
  .meta({ description: "What became of every rule, in order: why each tag has its value, or none" });

const demandSchema = z
  .strictObject({ durationSeconds: z.int().min(900).optional() })
  .meta({ description: "May only shorten the session; anything else is refused." });

const credentialsSchema = z
  .strictObject({
    Version: z.literal(1),
    AccessKeyId: z.string(),
    SecretAccessKey: z.string(),
    SessionToken: z.string(),
    Expiration: instant,
    sessionArn,
    tags,
    ledgerSeq: z.int().meta({ description: "The row of the ledger that records this issue" }),
  })
  .meta({ description: "As a credential_process prints them, and what they stand for" });

const whoamiSchema = z
  .strictObject({
    email: z.string(),
    provider: z.string(),
    signedInAt: instant,
    signInExpires: instant,
    sessionName: z.string(),
    sessionArn,
    tags,
    trace,
    billing: z.strictObject({
      line_item_iam_principal: z.string(),
      tags: z.record(z.string(), z.string()).meta({ description: "Column `tags` of CUR 2.0, by `iamPrincipal/KEY`" }),
    }),
  })
  .meta({ description: "Who the caller is, and what the bill will say" });

const problemSchema = z
  .strictObject({
    type: z.url(),
    title: z.string(),
    status: z.int(),
    code: z.enum(Object.keys(REASONS) as [ReasonCode, ...ReasonCode[]]),
    detail: z.string(),
    requestId: z.string(),
    trace: trace.optional(),
  })
  .meta({ description: "RFC 9457; `code` is stable, `title` is for people, `detail` says what to do" });

export type CredentialsAnswer = z.infer<typeof credentialsSchema>;
export type WhoamiAnswer = z.infer<typeof whoamiSchema>;
export type Problem = z.infer<typeof problemSchema>;

/** The API's own description (OpenAPI 3.1), with the addresses of this broker. */
export function openApi(baseUrl: string): object {
  return {
    openapi: "3.1.0",
    info: {
      title: "Rolecall",
      version: "1",
      description: "Short-lived, tagged AWS credentials for a company sign-in. The tags come from the sign-in alone.",
    },
    servers: [{ url: baseUrl }],
    security: [{ oauth: ["credentials"] }],
    paths: {
      "/api/v1/credentials": {
        post: {
          operationId: "issueCredentials",
          summary: "AWS credentials of the shared role, for the caller",
          requestBody: { required: false, content: { "application/json": { schema: ref("CredentialsRequest") } } },
          responses: answers("Credentials", [400, 401, 403, 429, 500, 502, 503]),
        },
      },
      "/api/v1/whoami": {
        get: {
          operationId: "whoami",
          summary: "Who the caller is and what would be issued now; the same refusals, with nothing issued",
          responses: answers("Whoami", [401, 403, 429, 500, 502, 503]),
        },
      },
    },
    components: {
      schemas: {
        CredentialsRequest: jsonSchema(demandSchema),
        Credentials: jsonSchema(credentialsSchema),
        Whoami: jsonSchema(whoamiSchema),
        Problem: jsonSchema(problemSchema),
      },
      securitySchemes: {
        oauth: {
          type: "oauth2",
          description: "In the Authorization header, as Bearer (RFC 6750, 2.1)",
          flows: {
            authorizationCode: {
              authorizationUrl: `${baseUrl}/oauth/auth`,
              tokenUrl: `${baseUrl}/oauth/token`,
              refreshUrl: `${baseUrl}/oauth/token`,
              scopes: { credentials: "To be given credentials" },
            },
          },
        },
      },
    },
  };
}

function answers(schema: string, refusals: readonly number[]): Record<string, object> {
  const refused = { description: "Refused", content: { "application/problem+json": { schema: ref("Problem") } } };
  return {
    "200": { description: "Done", content: { "application/json": { schema: ref(schema) } } },
    ...Object.fromEntries(refusals.map((status) => [String(status), refused])),
  };
}

function ref(schema: string): object {
  return { $ref: `#/components/schemas/${schema}` };
}

/** OpenAPI 3.1 has JSON Schema 2020-12, so the dialect need not be said. */
function jsonSchema(schema: z.ZodType): object {
  return { ...z.toJSONSchema(schema), $schema: undefined };
}
