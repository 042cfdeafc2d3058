import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { AwsSessions, type AwsSession } from "./aws-sessions.ts";
import { bedrockCall, converse } from "./bedrock.ts";
import { deployRole, type DeployedRole } from "./role-template.ts";
import { SignatureFault, authenticate, type SignatureProblem, type SignedRequest } from "./sigv4.ts";
import { assumeRoleWithWebIdentity, type AssumedSession } from "./sts-actions.ts";
import { StsFault } from "./sts-fault.ts";

/** What this stand-in takes that AWS would not: for the demo to say. */
export const lenient: readonly string[] = [
  "the federation issuer may be plain http, on this machine, with a port",
  "the endpoint is plain http and serves STS and Bedrock at one address",
  "credentials may be scoped to any region",
  "IAM takes any number of identity providers in a moment; here there is one, known from the start",
  "the packed size of tags is an estimate: AWS does not publish its formula",
];

/** How the next AssumeRoleWithWebIdentity goes wrong. */
export type ScriptedFault =
  | { readonly kind: "error"; readonly wireCode: string; readonly status: number }
  | { readonly kind: "answer"; readonly status: number; readonly body: string }
  /** Takes the request and never answers. */
  | { readonly kind: "hang" }
  /** Closes the connection instead of answering. */
  | { readonly kind: "reset" };

export interface SandboxSts {
  /** Without a slash at the end: the endpoint of both STS and bedrock-runtime. */
  readonly url: string;
  readonly port: number;
  /** How often AssumeRoleWithWebIdentity was asked for. */
  readonly calls: () => number;
  /** The next calls of AssumeRoleWithWebIdentity go wrong, one fault a call, in order. */
  readonly fail: (...faults: readonly ScriptedFault[]) => void;
  close(): Promise<void>;
}

export interface SandboxStsOptions {
  /** `rolecall-broker template aws/role`, rendered: who is trusted, for which role, with which permissions. */
  readonly trust: string;
  /** Left out: a free one. */
  readonly port?: number;
  readonly host?: string;
  readonly faults?: readonly ScriptedFault[];
  /** Epoch milliseconds. */
  readonly now?: () => number;
}

interface Sandbox {
  readonly deployed: DeployedRole;
  readonly sessions: AwsSessions;
  readonly faults: ScriptedFault[];
  readonly now: () => number;
  calls: number;
}

/**
 * A stand-in for AWS STS (AssumeRoleWithWebIdentity, GetCallerIdentity) and bedrock-runtime (Converse) that verifies
 * as AWS does and judges by the shipped template. Resolves when it listens; stock AWS clients take its URL as their
 * endpoint. Rejects where the template can't be read or the port is taken.
 */
export async function startSts(options: SandboxStsOptions): Promise<SandboxSts> {
  const { host = "127.0.0.1", port = 0, now = Date.now } = options;
  const sandbox: Sandbox = {
    deployed: deployRole(options.trust),
    sessions: new AwsSessions(),
    faults: [...(options.faults ?? [])],
    now,
    calls: 0,
  };
  const server = createServer((request, response) => {
    serve(sandbox, request, response).catch(() => request.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://${host}:${bound}`,
    port: bound,
    calls: () => sandbox.calls,
    fail: (...faults) => void sandbox.faults.push(...faults),
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

async function serve(sandbox: Sandbox, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method = "", url: target = "/", headers } = request;
  const signed: SignedRequest = { method, target, headers, body: await readBody(request) };
  const { port } = request.socket.address() as AddressInfo;
  const context = {
    deployed: sandbox.deployed,
    sessions: sandbox.sessions,
    now: sandbox.now(),
    hosts: [`127.0.0.1:${port}`, `localhost:${port}`],
    requestId: randomUUID(),
  };
  const call = method === "POST" ? bedrockCall(target) : undefined;
  if (call !== undefined) return converse(signed, response, call, context);
  return stsQuery(sandbox, signed, response, context);
}

type Context = Parameters<typeof converse>[3];

/** The Query protocol: a form goes in, XML comes out. */
async function stsQuery(
  sandbox: Sandbox,
  request: SignedRequest,
  response: ServerResponse,
  context: Context,
): Promise<void> {
  const form = new URLSearchParams(Buffer.from(request.body).toString("utf8"));
  const reply = (status: number, body: string): void => {
    response.writeHead(status, { "content-type": "text/xml", "x-amzn-RequestId": context.requestId }).end(body);
  };
  try {
    switch (form.get("Action")) {
      case "AssumeRoleWithWebIdentity": {
        sandbox.calls += 1;
        const fault = sandbox.faults.shift();
        if (fault !== undefined) {
          goWrong(fault, response, reply);
          return;
        }
        reply(200, assumedXml(await assumeRoleWithWebIdentity(form, context), context));
        return;
      }
      case "GetCallerIdentity":
        reply(200, callerXml(await caller(request, context), context.requestId));
        return;
      default:
        throw new StsFault("InvalidAction", 400, "Could not find operation for version 2011-06-15");
    }
  } catch (error) {
    const fault = error instanceof StsFault ? error : new StsFault("InternalFailure", 500, String(error));
    reply(fault.status, errorXml(fault, context.requestId));
  }
}

function goWrong(fault: ScriptedFault, response: ServerResponse, reply: (status: number, body: string) => void): void {
  switch (fault.kind) {
    case "error":
      throw new StsFault(fault.wireCode, fault.status, "as the test wanted it");
    case "answer":
      reply(fault.status, fault.body);
      return;
    case "reset":
      response.destroy();
      return;
    case "hang":
      return;
  }
}

const SIGNATURE_CODES: Readonly<Record<SignatureProblem, [code: string, status: number]>> = {
  missing: ["MissingAuthenticationToken", 403],
  incomplete: ["IncompleteSignature", 400],
  "unknown key": ["InvalidClientTokenId", 403],
  "wrong token": ["InvalidClientTokenId", 403],
  expired: ["ExpiredToken", 403],
  mismatch: ["SignatureDoesNotMatch", 403],
};

async function caller(request: SignedRequest, context: Context): Promise<AwsSession> {
  try {
    return await authenticate(request, { service: "sts", ...context }, context.sessions);
  } catch (error) {
    if (!(error instanceof SignatureFault)) throw error;
    const [code, status] = SIGNATURE_CODES[error.problem];
    throw new StsFault(code, status, error.message);
  }
}

function assumedXml({ session, identity, packedPolicySize }: AssumedSession, context: Context): string {
  const credentials = element("Credentials", {
    AccessKeyId: session.accessKeyId,
    SecretAccessKey: session.secretAccessKey,
    SessionToken: session.sessionToken,
    Expiration: session.expiration.toISOString().replace(".000Z", "Z"),
  });
  const user = element("AssumedRoleUser", { Arn: session.arn, AssumedRoleId: session.userId });
  const rest = {
    SubjectFromWebIdentityToken: identity.subject,
    Audience: identity.audience,
    Provider: context.deployed.provider.arn,
    PackedPolicySize: String(packedPolicySize),
    ...(session.sourceIdentity !== undefined && { SourceIdentity: session.sourceIdentity }),
  };
  return responseXml("AssumeRoleWithWebIdentity", credentials + user + elements(rest), context.requestId);
}

function callerXml({ arn, userId, account }: AwsSession, requestId: string): string {
  return responseXml("GetCallerIdentity", elements({ Arn: arn, UserId: userId, Account: account }), requestId);
}

const NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/";

function responseXml(action: string, result: string, requestId: string): string {
  const metadata = element("ResponseMetadata", { RequestId: requestId });
  return `<${action}Response xmlns="${NAMESPACE}"><${action}Result>${result}</${action}Result>${metadata}</${action}Response>`;
}

function errorXml(fault: StsFault, requestId: string): string {
  const type = fault.status < 500 ? "Sender" : "Receiver";
  const error = element("Error", { Type: type, Code: fault.wireCode, Message: fault.message });
  return `<ErrorResponse xmlns="${NAMESPACE}">${error}${elements({ RequestId: requestId })}</ErrorResponse>`;
}

function element(name: string, children: Readonly<Record<string, string>>): string {
  return `<${name}>${elements(children)}</${name}>`;
}

function elements(children: Readonly<Record<string, string>>): string {
  return Object.entries(children)
    .map(([name, text]) => `<${name}>${escapeXml(text)}</${name}>`)
    .join("");
}

function escapeXml(text: string): string {
  return text.replace(/[<>&"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

const MAX_BODY = 1024 * 1024;

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new Error("the request is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
