import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { Sha256 } from "@aws-crypto/sha256-js";
import { SignatureV4 } from "@smithy/signature-v4";
import type { AwsSession, AwsSessions } from "./aws-sessions.ts";

/** Milliseconds that the caller's clock may be wrong by. */
const SKEW = 5 * 60_000;

export interface SignedRequest {
  readonly method: string;
  /** Path and query as they came. */
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
}

export type SignatureProblem = "missing" | "incomplete" | "unknown key" | "wrong token" | "expired" | "mismatch";

/** The request proves no session. */
export class SignatureFault extends Error {
  override readonly name = "SignatureFault";
  readonly problem: SignatureProblem;

  constructor(problem: SignatureProblem, message: string) {
    super(message);
    this.problem = problem;
  }
}

/**
 * The session whose secret key signed `request`: signature recomputed over what arrived, for this service, this host
 * and the last five minutes (IAM user guide, "Signature Version 4"). Rejects with a {@link SignatureFault}.
 */
export async function authenticate(
  request: SignedRequest,
  expected: { readonly service: string; readonly hosts: readonly string[]; readonly now: number },
  sessions: AwsSessions,
): Promise<AwsSession> {
  const authorization = request.headers.authorization;
  if (authorization === undefined) throw new SignatureFault("missing", "Missing Authentication Token");
  const given = parseAuthorization(authorization);
  const session = sessions.find(given.accessKeyId);
  if (session === undefined) throw new SignatureFault("unknown key", "The security token included is invalid");
  if (header(request, "x-amz-security-token") !== session.sessionToken) {
    throw new SignatureFault("wrong token", "The security token included in the request is invalid");
  }
  if (given.service !== expected.service) {
    throw mismatch(`Credential should be scoped to correct service: '${expected.service}'`);
  }
  const signedAt = requireRecent(request, given.day, expected.now);
  requireSignedHeaders(request, given.signedHeaders, expected.hosts);
  requirePayloadHash(request);
  const wanted = await recompute(request, given, session, signedAt);
  if (!equal(wanted, given.signature)) {
    throw mismatch("The request signature we calculated does not match the signature you provided");
  }
  if (session.expiration.getTime() <= expected.now)
    throw new SignatureFault("expired", "The security token has expired");
  return session;
}

interface Authorization {
  readonly accessKeyId: string;
  /** YYYYMMDD */
  readonly day: string;
  readonly region: string;
  readonly service: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
}

function parseAuthorization(value: string): Authorization {
  const match =
    /^AWS4-HMAC-SHA256 Credential=([A-Z0-9]+)\/([0-9]{8})\/([a-z0-9-]+)\/([a-z0-9-]+)\/aws4_request, ?SignedHeaders=([a-z0-9;:-]+), ?Signature=([0-9a-f]{64})$/.exec(
      value,
    );
  if (match === null) throw new SignatureFault("incomplete", "Authorization header is not a Signature Version 4 one");
  const [, accessKeyId = "", day = "", region = "", service = "", signedHeaders = "", signature = ""] = match;
  return { accessKeyId, day, region, service, signedHeaders: signedHeaders.split(";"), signature };
}

function requireRecent(request: SignedRequest, day: string, now: number): Date {
  const stamp = header(request, "x-amz-date") ?? "";
  const signedAt = new Date(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  if (Number.isNaN(signedAt.getTime()) || !stamp.startsWith(day)) {
    throw new SignatureFault("incomplete", "X-Amz-Date must be there and of the credential's day");
  }
  if (Math.abs(signedAt.getTime() - now) > SKEW) throw mismatch("Signature expired or not yet current");
  return signedAt;
}

/**
 * AWS wants the host and every `x-amz-` header signed; the host is the one that was really asked. In HTTP/2, it is
 * `:authority` (RFC 9113 8.3.1).
 */
function requireSignedHeaders(request: SignedRequest, signed: readonly string[], hosts: readonly string[]): void {
  const host = signed.includes(":authority") ? ":authority" : "host";
  const needed = [host, ...Object.keys(request.headers).filter((name) => name.startsWith("x-amz-"))];
  const unsigned = needed.find((name) => !signed.includes(name));
  if (unsigned !== undefined) throw mismatch(`There were headers that were not signed: ${unsigned}`);
  if (signed.some((name) => header(request, name) === undefined)) throw mismatch("A signed header is missing");
  if (!hosts.includes(header(request, host) ?? "")) throw mismatch("The request is for another host");
}

function mismatch(message: string): SignatureFault {
  return new SignatureFault("mismatch", message);
}

function requirePayloadHash(request: SignedRequest): void {
  const stated = header(request, "x-amz-content-sha256");
  if (stated === undefined) return;
  const actual = createHash("sha256").update(request.body).digest("hex");
  if (stated !== actual) throw mismatch("x-amz-content-sha256 is not the payload's hash");
}

async function recompute(
  request: SignedRequest,
  given: Authorization,
  session: AwsSession,
  signingDate: Date,
): Promise<string> {
  const { accessKeyId, secretAccessKey, sessionToken } = session;
  const signer = new SignatureV4({
    credentials: { accessKeyId, secretAccessKey, sessionToken },
    region: given.region,
    service: given.service,
    sha256: Sha256,
    applyChecksum: false,
  });
  const [path = "/", queryText = ""] = request.target.split("?", 2);
  const query: Record<string, string[]> = {};
  for (const [name, value] of new URLSearchParams(queryText)) (query[name] ??= []).push(value);
  const signed = await signer.sign(
    {
      method: request.method,
      protocol: "http:",
      hostname: "",
      path,
      query,
      headers: Object.fromEntries(given.signedHeaders.map((name) => [name, header(request, name) ?? ""])),
      body: request.body,
    },
    { signingDate, signableHeaders: new Set(given.signedHeaders) },
  );
  return parseAuthorization(signed.headers["authorization"] ?? "").signature;
}

function header(request: SignedRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(",") : value;
}

function equal(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}
