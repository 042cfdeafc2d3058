import { parseAwsCredentials, type AwsCredentials } from "./aws-credentials.ts";
import { BrokerRefusal, BrokerUnavailable, CommandFailure } from "./failure.ts";
import { honourProxy, SECONDS, unavailable } from "./network.ts";
import { VERSION } from "./version.ts";

/** AWS credentials from `POST /api/v1/credentials`. Throws BrokerRefusal, BrokerUnavailable or a CommandFailure. */
export async function requestCredentials(broker: string, accessToken: string): Promise<AwsCredentials> {
  const body = await request(broker, accessToken, "POST", "/api/v1/credentials", SECONDS.credentials);
  const credentials = parseAwsCredentials(body);
  if (credentials === undefined) throw unexpected(broker);
  return credentials;
}

/** The answer of `GET /api/v1/whoami`, an object. Throws as {@link requestCredentials} does. */
export async function requestWhoami(broker: string, accessToken: string): Promise<Record<string, unknown>> {
  return await request(broker, accessToken, "GET", "/api/v1/whoami", SECONDS.api);
}

async function request(
  broker: string,
  accessToken: string,
  method: "GET" | "POST",
  path: string,
  seconds: number,
): Promise<Record<string, unknown>> {
  honourProxy();
  let response: Response;
  let body: unknown;
  try {
    response = await fetch(`${broker}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${accessToken}`,
        accept: "application/json, application/problem+json",
        "user-agent": `rolecall/${VERSION} (${process.platform})`,
        ...(method === "POST" && { "content-type": "application/json" }),
      },
      ...(method === "POST" && { body: "{}" }),
      // The broker never redirects here, and the token is for nobody else.
      redirect: "manual",
      signal: AbortSignal.timeout(seconds * 1000),
    });
    body = parseJson(await response.text());
  } catch (error) {
    throw unavailable(broker, error);
  }
  if (!response.ok) throw refusalOf(broker, response, body);
  if (!isObject(body)) throw unexpected(broker);
  return body;
}

/** A problem+json (RFC 9457) in words: the broker's sentence, its advice, and the request ID for whoever is asked. */
function refusalOf(broker: string, response: Response, body: unknown): CommandFailure {
  const problem = isObject(body) ? body : {};
  const { code } = problem;
  const requestId = text(problem["requestId"]) ?? response.headers.get("x-request-id") ?? undefined;
  const sentence = text(problem["title"]) ?? `the broker at ${broker} answered with HTTP ${response.status}`;
  const hint = response.status === 401 ? `run: rolecall login --broker ${broker}` : text(problem["detail"]);
  const details = [text(code) && `reason: ${String(code)}`, requestId && `request ID: ${requestId}`].filter(
    (line) => line !== undefined,
  );
  // Too often (429) passes, as a fault of the broker does.
  if (response.status >= 500 || response.status === 429) return new BrokerUnavailable(sentence, { hint, details });
  return new BrokerRefusal(text(code), sentence, { hint, details });
}

function unexpected(broker: string): CommandFailure {
  return new CommandFailure(`the answer of the broker at ${broker} is not what a Rolecall broker sends`, {
    hint: "check the address; if it is right, tell the people who run Rolecall",
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
