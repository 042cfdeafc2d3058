import { randomUUID } from "node:crypto";
import { AwsSessions, type AwsSession } from "./aws-sessions.ts";
import { bedrockCall, converse } from "./bedrock.ts";
import { listenHttp1And2, type Request, type Response } from "./http-1-and-2.ts";
import { deployRole, type DeployedRole } from "./role-template.ts";
import { SignatureFault, authenticate, type SignatureProblem, type SignedRequest } from "./sigv4.ts";
import { assumeRoleWithSaml, assumeRoleWithWebIdentity } from "./sts-actions.ts";
import { StsFault } from "./sts-fault.ts";
import { PublishedKeys } from "./web-identity.ts";
import { callerXml, errorXml, samlXml, webIdentityXml } from "./sts-xml.ts";

/** What this stand-in takes that AWS would not: for the demo to say. */
export const lenient: readonly string[] = [
  "the federation issuer may be plain http, on this machine, with a port",
  "the endpoint is plain http and serves STS and Bedrock at one address",
  "credentials may be scoped to any region",
  "IAM takes any number of identity providers in a moment; here there is one, known from the start",
  "published keys are read for each call, while AWS may keep them for a time that it does not say",
  "an assertion's issuer and the provider's metadata may name plain http addresses; metadata is registered at once, known from the start",
  "an assertion may be signed with RSA and SHA-256 or stronger only, and may not be encrypted: AWS takes more",
  "the packed size of tags is an estimate: AWS does not publish its formula",
];

/** How the next AssumeRoleWithWebIdentity or AssumeRoleWithSAML goes wrong. */
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
  /** How often AssumeRoleWithWebIdentity or AssumeRoleWithSAML was asked for. */
  readonly calls: () => number;
  /** What it gave out. */
  readonly sessions: () => AwsSession[];
  /** The next calls of these go wrong, one fault a call, in order. */
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
  /** How long the issuer's published keys are kept; left out: read for each call. */
  readonly jwksCacheSeconds?: number;
  /** Epoch milliseconds. */
  readonly now?: () => number;
}

interface Sandbox {
  readonly deployed: DeployedRole;
  readonly sessions: AwsSessions;
  readonly published: PublishedKeys;
  readonly faults: ScriptedFault[];
  readonly now: () => number;
  /** What a caller's `Host` may be. */
  readonly hosts: string[];
  calls: number;
}

/**
 * A stand-in for AWS STS (AssumeRoleWithWebIdentity, AssumeRoleWithSAML, GetCallerIdentity) and bedrock-runtime (Converse) that verifies
 * as AWS does and judges by the shipped template. Resolves when it listens; stock AWS clients take its URL as their
 * endpoint. Rejects where the template can't be read or the port is taken.
 */
export async function startSts(options: SandboxStsOptions): Promise<SandboxSts> {
  const { host = "127.0.0.1", now = Date.now } = options;
  const sandbox: Sandbox = {
    deployed: deployRole(options.trust),
    sessions: new AwsSessions(),
    published: new PublishedKeys(options.jwksCacheSeconds ?? 0),
    faults: [...(options.faults ?? [])],
    now,
    hosts: [],
    calls: 0,
  };
  const server = await listenHttp1And2(
    (request, response) => {
      serve(sandbox, request, response).catch(() => request.destroy());
    },
    options.port ?? 0,
    host,
  );
  sandbox.hosts.push(...["127.0.0.1", "localhost"].map((name) => `${name}:${server.port}`));
  return {
    url: `http://${host}:${server.port}`,
    port: server.port,
    calls: () => sandbox.calls,
    sessions: () => sandbox.sessions.all(),
    fail: (...faults) => void sandbox.faults.push(...faults),
    close: server.close,
  };
}

async function serve(sandbox: Sandbox, request: Request, response: Response): Promise<void> {
  const { method = "", url: target = "/", headers } = request;
  const signed: SignedRequest = { method, target, headers, body: await readBody(request) };
  const { deployed, sessions, published, hosts, now } = sandbox;
  const context = { deployed, sessions, published, hosts, now: now(), requestId: randomUUID() };
  const call = method === "POST" ? bedrockCall(target) : undefined;
  if (call !== undefined) return converse(signed, response, call, context);
  const reply = (status: number, body: string): void => {
    response.writeHead(status, { "content-type": "text/xml", "x-amzn-RequestId": context.requestId });
    response.end(body);
  };
  return stsQuery(sandbox, signed, context, { reply, reset: () => request.destroy() });
}

type Context = Parameters<typeof converse>[3] & { readonly published: PublishedKeys };

interface Answer {
  readonly reply: (status: number, body: string) => void;
  readonly reset: () => void;
}

/** The Query protocol: a form goes in, XML comes out. */
async function stsQuery(sandbox: Sandbox, request: SignedRequest, context: Context, answer: Answer): Promise<void> {
  const form = new URLSearchParams(Buffer.from(request.body).toString("utf8"));
  try {
    switch (form.get("Action")) {
      case "AssumeRoleWithWebIdentity":
      case "AssumeRoleWithSAML": {
        sandbox.calls += 1;
        const fault = sandbox.faults.shift();
        if (fault !== undefined) {
          goWrong(fault, answer);
          return;
        }
        answer.reply(200, await assumeRole(form, context));
        return;
      }
      case "GetCallerIdentity":
        answer.reply(200, callerXml(await caller(request, context), context.requestId));
        return;
      default:
        throw new StsFault("InvalidAction", 400, "Could not find operation for version 2011-06-15");
    }
  } catch (error) {
    const fault = error instanceof StsFault ? error : new StsFault("InternalFailure", 500, String(error));
    answer.reply(fault.status, errorXml(fault, context.requestId));
  }
}

async function assumeRole(form: URLSearchParams, context: Context): Promise<string> {
  if (form.get("Action") === "AssumeRoleWithSAML") return samlXml(assumeRoleWithSaml(form, context), context.requestId);
  const assumed = await assumeRoleWithWebIdentity(form, context);
  return webIdentityXml(assumed, context.deployed.provider.arn, context.requestId);
}

function goWrong(fault: ScriptedFault, answer: Answer): void {
  switch (fault.kind) {
    case "error":
      throw new StsFault(fault.wireCode, fault.status, "as the test wanted it");
    case "answer":
      answer.reply(fault.status, fault.body);
      return;
    case "reset":
      answer.reset();
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

const MAX_BODY = 1024 * 1024;

async function readBody(request: Request): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new Error("the request is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
