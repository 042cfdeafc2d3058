import { z } from "zod";
import type { AwsSession, AwsSessions } from "./aws-sessions.ts";
import { eventFrame } from "./event-stream.ts";
import type { Response } from "./http-1-and-2.ts";
import { allows } from "./iam-policy.ts";
import type { DeployedRole } from "./role-template.ts";
import { SignatureFault, authenticate, type SignatureProblem, type SignedRequest } from "./sigv4.ts";

const CODES: Readonly<Record<SignatureProblem, string>> = {
  missing: "MissingAuthenticationTokenException",
  incomplete: "IncompleteSignatureException",
  "unknown key": "UnrecognizedClientException",
  "wrong token": "UnrecognizedClientException",
  expired: "ExpiredTokenException",
  mismatch: "InvalidSignatureException",
};

const ACTIONS = {
  converse: "bedrock:InvokeModel",
  "converse-stream": "bedrock:InvokeModelWithResponseStream",
} as const;
type Operation = keyof typeof ACTIONS;

const converseRequest = z.object({
  messages: z
    .array(z.object({ role: z.enum(["user", "assistant"]), content: z.array(z.looseObject({})).min(1) }))
    .min(1),
});

class BedrockFault extends Error {
  override readonly name = "BedrockFault";
  readonly code: string;
  readonly status: number;

  constructor(code: string, status: number, message: string) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** `/model/ID/converse` and `/model/ID/converse-stream`; undefined for any other path. */
export function bedrockCall(target: string): { modelId: string; operation: Operation } | undefined {
  const match = /^\/model\/([^/]+)\/(converse|converse-stream)$/.exec(target.split("?", 1)[0] ?? "");
  const [, modelId, operation] = match ?? [];
  if (modelId === undefined || operation === undefined) return undefined;
  return { modelId: decodeURIComponent(modelId), operation: operation as Operation };
}

/**
 * Answers Converse and ConverseStream as bedrock-runtime does, with one sentence: who is calling, and with which tags
 * AWS would bill it. The caller's signature is checked, and the role's permission policy decides.
 */
export async function converse(
  request: SignedRequest,
  response: Response,
  call: { modelId: string; operation: Operation },
  context: { deployed: DeployedRole; sessions: AwsSessions; hosts: readonly string[]; now: number; requestId: string },
): Promise<void> {
  response.setHeader("x-amzn-RequestId", context.requestId);
  try {
    const session = await authenticated(request, context);
    requirePermission(session, call, context.deployed);
    requireMessages(request.body);
    const tags = Object.entries(session.tags).map(([key, value]) => `${key}=${value}`);
    answer(response, call.operation, `You are ${session.arn}, billed with ${tags.join(", ")}.`);
  } catch (error) {
    const fault =
      error instanceof BedrockFault ? error : new BedrockFault("InternalServerException", 500, String(error));
    response.writeHead(fault.status, { "content-type": "application/json", "x-amzn-ErrorType": fault.code });
    response.end(JSON.stringify({ message: fault.message }));
  }
}

async function authenticated(
  request: SignedRequest,
  context: { sessions: AwsSessions; hosts: readonly string[]; now: number },
): Promise<AwsSession> {
  try {
    return await authenticate(request, { service: "bedrock", ...context }, context.sessions);
  } catch (error) {
    if (!(error instanceof SignatureFault)) throw error;
    throw new BedrockFault(CODES[error.problem], 403, error.message);
  }
}

function requirePermission(
  session: AwsSession,
  { modelId, operation }: { modelId: string; operation: Operation },
  { role, account }: DeployedRole,
): void {
  const action = ACTIONS[operation];
  const tags = Object.entries(session.tags).map(([key, value]) => [`aws:PrincipalTag/${key}`, [value]]);
  const context = Object.fromEntries(tags) as Record<string, string[]>;
  const denied = resourcesOf(modelId, role.arn, account).find(
    (resource) => !allows(role.permissions, { action, resource, context }),
  );
  if (denied !== undefined) {
    const message = `User: ${session.arn} is not authorized to perform: ${action} on resource: ${denied}`;
    throw new BedrockFault("AccessDeniedException", 403, message);
  }
}

/** What one call touches: with a cross-region inference profile, the profile and the model behind it. */
function resourcesOf(modelId: string, roleArn: string, account: string): string[] {
  if (modelId.startsWith("arn:")) return [modelId];
  // The region makes no difference: the shipped policy allows a model everywhere or nowhere.
  const bedrock = `arn:${roleArn.split(":")[1]}:bedrock:us-east-1`;
  const [, model] = /^(?:us|us-gov|eu|apac|ap|jp|au|ca|sa|global)\.(.+)$/.exec(modelId) ?? [];
  if (model === undefined) return [`${bedrock}::foundation-model/${modelId}`];
  return [`${bedrock}:${account}:inference-profile/${modelId}`, `${bedrock}::foundation-model/${model}`];
}

function requireMessages(body: Uint8Array): void {
  try {
    converseRequest.parse(JSON.parse(Buffer.from(body).toString("utf8")));
  } catch {
    throw new BedrockFault("ValidationException", 400, "messages must be a list of messages with content");
  }
}

function answer(response: Response, operation: Operation, text: string): void {
  const usage = { inputTokens: 1, outputTokens: text.split(" ").length, totalTokens: 1 + text.split(" ").length };
  const metrics = { latencyMs: 1 };
  if (operation === "converse") {
    response.writeHead(200, { "content-type": "application/json" });
    const message = { role: "assistant", content: [{ text }] };
    response.end(JSON.stringify({ output: { message }, stopReason: "end_turn", usage, metrics }));
    return;
  }
  response.writeHead(200, { "content-type": "application/vnd.amazon.eventstream" });
  response.write(eventFrame("messageStart", { role: "assistant" }));
  response.write(eventFrame("contentBlockDelta", { contentBlockIndex: 0, delta: { text } }));
  response.write(eventFrame("contentBlockStop", { contentBlockIndex: 0 }));
  response.write(eventFrame("messageStop", { stopReason: "end_turn" }));
  response.end(eventFrame("metadata", { usage, metrics }));
}
