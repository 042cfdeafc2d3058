import { allowInsecureRequests, type Configuration } from "openid-client";
import { Refusal } from "../flow/errors.ts";
import { refuse } from "./claim-rules.ts";

/** More than any metadata, key set or token response; a claim of a megabyte ends here. */
const MAX_RESPONSE_BYTES = 1024 * 1024;

export interface IdpFetchOptions {
  /** Ends every request of one operation together. */
  readonly deadline: AbortSignal;
  /** Takes plain http from this machine itself: development only. */
  readonly allowLoopbackHttp: boolean;
}

/** What openid-client and jose ask of a fetch. */
type FetchInit = Pick<RequestInit, "method" | "headers" | "signal"> & { body?: RequestInit["body"] | undefined };

/**
 * A fetch for one operation at an identity provider: its answer is read whole, 1 MiB at most, before the deadline. No
 * redirect is followed, so that neither code nor secret goes where the metadata does not point. Rejects with a
 * Refusal: `idp_unreachable` for no answer, a 429 or a 5xx; `idp_response_invalid` for a redirect, an answer too
 * large, or an address that is not https.
 */
export function idpFetch(options: IdpFetchOptions): (url: string, init: FetchInit) => Promise<Response> {
  return async (url, init) => {
    const { origin } = requireSecure(url, options.allowLoopbackHttp);
    const signal = init.signal ? AbortSignal.any([options.deadline, init.signal]) : options.deadline;
    try {
      const response = await fetch(url, { ...init, body: init.body ?? null, redirect: "manual", signal });
      return await wholeResponse(origin, response);
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw new Refusal("idp_unreachable", `no answer from ${origin} (${networkFault(error)})`);
    }
  };
}

/**
 * What a Configuration of openid-client needs in order to leave the question of plain http to {@link requireSecure}.
 * The function is called deprecated only to make it stand out.
 */
export function httpExtensions(allowLoopbackHttp: boolean): ((configuration: Configuration) => void)[] {
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- it has no other name, and discovery knows it by identity
  return allowLoopbackHttp ? [allowInsecureRequests] : [];
}

/** The address, where a client secret may go there: https, or plain http to this machine where that is allowed. */
export function requireSecure(url: string, allowLoopbackHttp: boolean): URL {
  const parsed = URL.parse(url);
  const loopback = parsed?.protocol === "http:" && ["localhost", "127.0.0.1", "[::1]"].includes(parsed.hostname);
  if (parsed?.protocol === "https:" || (parsed && loopback && allowLoopbackHttp)) return parsed;
  return refuse("idp_response_invalid", "an address of the provider is not https");
}

async function wholeResponse(origin: string, response: Response): Promise<Response> {
  const { status, headers } = response;
  if (status === 429 || status >= 500 || (status >= 300 && status < 400)) {
    await response.body?.cancel();
    if (status < 400) refuse("idp_response_invalid", `${origin} answered with a redirect`);
    refuse("idp_unreachable", `${origin} answered with status ${status}`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop by an exception cancels the stream.
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > MAX_RESPONSE_BYTES) refuse("idp_response_invalid", `${origin} sent more than 1 MiB`);
    chunks.push(chunk);
  }
  return new Response(response.body && Buffer.concat(chunks), { status, headers });
}

/** `ECONNREFUSED`, `TimeoutError` and the like: undici puts the system's code into the cause. */
function networkFault(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  const cause = error.cause as { code?: unknown } | undefined;
  return typeof cause?.code === "string" ? cause.code : error.name;
}
