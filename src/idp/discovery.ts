import { type ServerMetadata, customFetch, discovery, None } from "openid-client";
import type { OidcProvider } from "../config/config.ts";
import { Refusal } from "../flow/errors.ts";
import { refuse } from "./claim-rules.ts";
import { httpExtensions, idpFetch, requireSecure, type IdpFetchOptions } from "./idp-fetch.ts";
import { oidcRefusal } from "./oidc-errors.ts";

/** Providers move endpoints and keys rarely, but some at once and without overlap. */
const FRESH_MS = 10 * 60_000;
/** Between attempts while the provider does not answer and what was read before still serves. */
const RETRY_MS = 30_000;
const LAST_GOOD_MS = 24 * 60 * 60_000;

/** The metadata of one provider, read when it is first needed. */
export type Metadata = (request: IdpFetchOptions) => Promise<ServerMetadata>;

/**
 * Reads a provider's metadata lazily, so that a provider that is down stops nobody else and no start. What was read is
 * fresh for ten minutes; while the provider is unreachable the last good one serves on, a day at most. Its `issuer` must
 * be the configured one, letter by letter. Rejects with a Refusal: `idp_unreachable`, `issuer_mismatch`,
 * `idp_response_invalid`. `now` gives epoch milliseconds.
 */
export function providerMetadata(provider: OidcProvider, now: () => number): Metadata {
  let last: { metadata: ServerMetadata; readAt: number; askAgainAt: number } | undefined;
  return async (request) => {
    if (last && now() < last.askAgainAt) return last.metadata;
    try {
      const metadata = await readMetadata(provider, request);
      last = { metadata, readAt: now(), askAgainAt: now() + FRESH_MS };
    } catch (error) {
      const unreachable = error instanceof Refusal && error.code === "idp_unreachable";
      if (!last || !unreachable || now() >= last.readAt + LAST_GOOD_MS) throw error;
      last.askAgainAt = now() + RETRY_MS;
    }
    return last.metadata;
  };
}

async function readMetadata(provider: OidcProvider, request: IdpFetchOptions): Promise<ServerMetadata> {
  const { issuer, clientId } = provider;
  const configuration = await discovery(requireSecure(issuer, request.allowLoopbackHttp), clientId, undefined, None(), {
    [customFetch]: idpFetch(request),
    execute: httpExtensions(request.allowLoopbackHttp),
  }).catch((error: unknown) => {
    throw isOtherIssuer(error) ? otherIssuer() : oidcRefusal(error, "discovery");
  });
  const metadata = configuration.serverMetadata();
  // openid-client compares normalized addresses, and for some of Microsoft's not even those.
  if (metadata.issuer !== issuer) throw otherIssuer();
  if (metadata.jwks_uri === undefined) refuse("idp_response_invalid", "the provider's metadata has no jwks_uri");
  return metadata;
}

function isOtherIssuer(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED";
}

function otherIssuer(): Refusal {
  return new Refusal("issuer_mismatch", "the provider's metadata names another issuer than the configured one");
}
