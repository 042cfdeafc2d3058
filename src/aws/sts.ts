import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { setTimeout as delay } from "node:timers/promises";
import {
  AssumeRoleWithSAMLCommand,
  AssumeRoleWithWebIdentityCommand,
  STSClient,
  STSServiceException,
  type AssumeRoleWithSAMLCommandOutput,
  type AssumeRoleWithWebIdentityCommandOutput,
} from "@aws-sdk/client-sts";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { StsRefusal, type AssumeRole, type Log, type StsSession } from "../flow/ports.ts";
import { stsError } from "./sts-errors.ts";

/** Milliseconds, each within the next: one connection, one attempt, all attempts of a call. */
const CONNECTION_LIMIT = 2_000;
const ATTEMPT_LIMIT = 5_000;
const CALL_LIMIT = 15_000;
const ATTEMPTS = 5;
/** Seconds that AWS's clock and ours may be apart, as STS allows it for tokens. */
const CLOCK_SKEW = 300;
/** Back-off before the second attempt at most (milliseconds); it doubles with each. */
const BACKOFF = 200;

export interface StsClientOptions {
  readonly region: string;
  /** Development only; left out: the regional endpoint of AWS. */
  readonly endpoint?: string | undefined;
  /** By AssumeRoleWithSAML, and what its answers must say; left out: by AssumeRoleWithWebIdentity. */
  readonly saml?: SamlTrust | undefined;
  readonly log: Log;
  /** For tests: milliseconds as above, and the clock (epoch milliseconds). */
  readonly limits?: { readonly connection?: number; readonly attempt?: number; readonly call?: number };
  readonly backoff?: number;
  readonly now?: () => number;
}

export interface SamlTrust {
  /** The IAM SAML provider. */
  readonly samlProviderArn: string;
  /** Our entity ID. */
  readonly issuer: string;
  /** The Recipient of our assertions. */
  readonly audience: string;
}

type Request = Parameters<AssumeRole>[0];
type Answer = AssumeRoleWithWebIdentityCommandOutput | AssumeRoleWithSAMLCommandOutput;

/**
 * {@link AssumeRole} over HTTPS to STS, and `close` for its kept-alive connections. Unsigned: it needs no AWS
 * credentials and reads none. Every call ends within 15 seconds: with the session, or a {@link StsRefusal} by the table
 * of {@link stsError}; `sts_unreachable` where nothing came back; `sts_response_invalid` where an answer is no session.
 */
export function stsClient(options: StsClientOptions): { assumeRole: AssumeRole; close: () => void } {
  const client = isolatedClient(options);
  const { saml, log, limits = {}, backoff = BACKOFF, now = Date.now } = options;
  const ask = saml === undefined ? askByWebIdentity : askBySaml(saml);
  const callWithin = async (request: Request, deadline: AbortSignal): Promise<StsSession> => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return sessionOf(await ask(client, request, deadline), now(), request.durationSeconds);
      } catch (error) {
        const { refusal, retry } = refused(error);
        log.warn({ code: refusal.code, attempt, stsRequestId: refusal.stsRequestId }, refusal.message);
        if (!retry || attempt === ATTEMPTS || deadline.aborted) throw refusal;
        // Full jitter (AWS Architecture Blog, "Exponential backoff and jitter"): callers that failed together part.
        const pause = Math.random() * backoff * 2 ** (attempt - 1);
        await delay(pause, undefined, { signal: deadline }).catch(() => Promise.reject(refusal));
      }
    }
  };
  const assumeRole: AssumeRole = async (request) => {
    // Not AbortSignal.timeout: it stays in memory until its time is over, however soon the answer came.
    const deadline = new AbortController();
    const timer = setTimeout(() => {
      deadline.abort();
    }, limits.call ?? CALL_LIMIT);
    try {
      return await callWithin(request, deadline.signal);
    } finally {
      clearTimeout(timer);
    }
  };
  return {
    assumeRole,
    close: () => {
      client.destroy();
    },
  };
}

type Ask = (client: STSClient, request: Request, deadline: AbortSignal) => Promise<Answer>;

const askByWebIdentity: Ask = (client, request, deadline) => {
  const command = new AssumeRoleWithWebIdentityCommand({
    RoleArn: request.roleArn,
    RoleSessionName: request.sessionName,
    WebIdentityToken: request.token,
    DurationSeconds: request.durationSeconds,
  });
  return client.send(command, { abortSignal: deadline });
};

/** The session's name is in the assertion; the answer says whose assertion STS has read. */
function askBySaml({ samlProviderArn, issuer, audience }: SamlTrust): Ask {
  return async (client, request, deadline) => {
    const command = new AssumeRoleWithSAMLCommand({
      RoleArn: request.roleArn,
      PrincipalArn: samlProviderArn,
      SAMLAssertion: request.token,
      DurationSeconds: request.durationSeconds,
    });
    const answer = await client.send(command, { abortSignal: deadline });
    if (answer.Issuer !== issuer || answer.Subject !== request.sessionName || answer.Audience !== audience) {
      const what = "STS answered for another issuer, subject or audience";
      throw new StsRefusal("sts_response_invalid", what, answer.$metadata.requestId);
    }
    return answer;
  };
}

/**
 * Every setting that the SDK would otherwise look for in the environment or in ~/.aws is given here, so that
 * AWS_ENDPOINT_URL, AWS_PROFILE or a stray configuration file can't send tokens anywhere else.
 */
function isolatedClient({ region, endpoint, limits = {} }: StsClientOptions): STSClient {
  return new STSClient({
    region,
    endpoint: endpoint ?? regionalEndpoint(region),
    useFipsEndpoint: false,
    useDualstackEndpoint: false,
    // Its own retries would hide attempts from the log and double ours.
    maxAttempts: 1,
    retryMode: "standard",
    defaultsMode: "standard",
    authSchemePreference: ["noAuth"],
    sigv4aSigningRegionSet: [region],
    userAgentAppId: "rolecall",
    credentials: () => Promise.reject(new Error("these calls are not signed")),
    requestHandler: new NodeHttpHandler({
      connectionTimeout: limits.connection ?? CONNECTION_LIMIT,
      requestTimeout: limits.attempt ?? ATTEMPT_LIMIT,
      throwOnRequestTimeout: true,
      httpAgent: new HttpAgent({ keepAlive: true, maxSockets: 50 }),
      // Also against NODE_TLS_REJECT_UNAUTHORIZED, which somebody may have set for the sake of another server.
      httpsAgent: new HttpsAgent({ keepAlive: true, maxSockets: 50, rejectUnauthorized: true }),
    }),
  });
}

/** Where STS is in `region`; never the global endpoint, which is one region far away (AWS general reference, "AWS STS endpoints"). */
export function regionalEndpoint(region: string): string {
  return `https://sts.${region}.${region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com"}`;
}

function sessionOf(output: Answer, now: number, durationSeconds: number): StsSession {
  const requestId = output.$metadata.requestId;
  const invalid = (what: string): StsRefusal => new StsRefusal("sts_response_invalid", what, requestId);
  const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = output.Credentials ?? {};
  const sessionArn = output.AssumedRoleUser?.Arn;
  if (!AccessKeyId || !SecretAccessKey || !SessionToken || !Expiration || !sessionArn) {
    throw invalid("the answer lacks credentials, their expiration or the session's ARN");
  }
  if (!(Expiration.getTime() > now)) throw invalid("the credentials have expired already");
  // What the bound for somebody who left rests on (law 6).
  if (Expiration.getTime() > now + (durationSeconds + CLOCK_SKEW) * 1000) {
    throw invalid("the credentials live longer than was asked for");
  }
  return {
    credentials: {
      accessKeyId: AccessKeyId,
      secretAccessKey: SecretAccessKey,
      sessionToken: SessionToken,
      expiration: Expiration,
    },
    sessionArn,
    sourceIdentity: output.SourceIdentity,
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- STS still sends it; the figure that replaces it measures something else
    packedPolicySize: output.PackedPolicySize,
    requestId,
  };
}

function refused(error: unknown): { refusal: StsRefusal; retry: boolean } {
  if (error instanceof StsRefusal) return { refusal: error, retry: false };
  if (error instanceof STSServiceException) {
    const { httpStatusCode = 0, requestId } = error.$metadata;
    const row = stsError(wireCodeOf(error), httpStatusCode);
    // STS's own message can quote the token's claims, so only its code is kept.
    const message = `STS answered ${row.wireCode} (HTTP ${httpStatusCode})`;
    return { refusal: new StsRefusal(row.reason, message, requestId), retry: row.retry };
  }
  if (isCertificateFault(error)) {
    const message = "the server at STS's address has no certificate that is trusted";
    return { refusal: new StsRefusal("sts_unreachable", message, undefined), retry: false };
  }
  if (isTransport(error))
    return { refusal: new StsRefusal("sts_unreachable", "no answer from STS", undefined), retry: true };
  return { refusal: new StsRefusal("sts_response_invalid", "the answer could not be read", undefined), retry: false };
}

/** The SDK names modelled errors by class (IDPCommunicationErrorException); the wire code stands beside it. */
function wireCodeOf(error: STSServiceException & { Error?: { Code?: unknown }; Code?: unknown }): string {
  const code = error.Error?.Code ?? error.Code ?? error.name;
  return typeof code === "string" && /^[\w.]{1,64}$/.test(code) ? code : "an unreadable code";
}

/** Node's socket and DNS errors have a `code` in capitals; the SDK's time limits and our deadline have names. */
function isTransport(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error.name === "TimeoutError" || error.name === "AbortError") return true;
  return "code" in error && typeof error.code === "string" && /^E[A-Z_]+$/.test(error.code);
}

/** Whoever answered could not prove to be AWS (OpenSSL's and Node's names, as in `node:tls`); to try again won't help. */
function isCertificateFault(error: unknown): boolean {
  return error instanceof Error && "code" in error && /CERT|SIGNATURE|ERR_TLS/.test(String(error.code));
}
