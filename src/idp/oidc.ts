import { createRemoteJWKSet, customFetch as joseFetch, jwksCache, type JWKSCacheInput } from "jose";
import {
  authorizationCodeGrant,
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  Configuration,
  customFetch,
  enableNonRepudiationChecks,
  fetchUserInfo,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
  refreshTokenGrant,
  type ServerMetadata,
} from "openid-client";
import type { OidcProvider } from "../config/config.ts";
import { claimAt } from "../flow/identity.ts";
import { type Claims, refuse } from "./claim-rules.ts";
import { clientAuthentication } from "./client-auth.ts";
import { providerMetadata } from "./discovery.ts";
import { verifyIdToken, type ExpectedIdToken } from "./id-token.ts";
import { httpExtensions, idpFetch, requireSecure, type IdpFetchOptions } from "./idp-fetch.ts";
import { claimRulesOf } from "./kinds.ts";
import { oidcRefusal, type OidcStep } from "./oidc-errors.ts";

const REFRESH_TIMEOUT_MS = 5_000;

export interface OidcOptions {
  /** `BASE/login/ID/callback`: one for each provider, so that answers can't be mixed up (RFC 9700 4.4). */
  readonly redirectUri: string;
  /** Development only. */
  readonly allowLoopbackHttp: boolean;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** For all requests of one operation together; default 10 s, and 5 s for a refresh, which programs wait for. */
  readonly timeoutMs?: number;
}

/** What must be remembered of a sign-in until the browser comes back. */
export interface PendingAuthentication {
  readonly state: string;
  readonly nonce: string;
  /** PKCE code verifier (RFC 7636). */
  readonly verifier: string;
}

/** What a sign-in leaves behind for asking the provider again. */
export interface ProviderGrant {
  readonly refreshToken: string;
  /** `sub` as the provider sent it, which need not be the Identity's subject. */
  readonly sub: string;
  readonly nonce: string;
}

/** What a finished sign-in gave. */
export interface SignInAnswer {
  readonly claims: Claims;
  /** Left out: the provider gave no refresh token. */
  readonly grant?: ProviderGrant;
}

/** One provider's authorization code flow, and its refresh. Rejections are Refusals, without a code, token or secret in them. */
export interface OidcClient {
  /** The address to send the browser to. Refusal `idp_unreachable`, `issuer_mismatch`, `idp_response_invalid`. */
  begin(): Promise<{ readonly url: string; readonly pending: PendingAuthentication }>;
  /**
   * The person's claims, from the ID token; where one of `paths` or the email is not in it, from userinfo too, and what
   * both have is the ID token's. Refusals as of `begin`, `idp_denied`, `idp_client_rejected`.
   */
  finish(callback: URLSearchParams, pending: PendingAuthentication, paths: Iterable<string>): Promise<SignInAnswer>;
  /**
   * The claims as of now, read as by `finish`; where the answer has no ID token, userinfo's alone. A new refresh token
   * goes to `rotated` before anything else is looked at, since the old one is spent. Refusals as of `finish`,
   * `sign_in_revoked`, and `claims_expired` where the provider wants the person to come by.
   */
  refresh(
    grant: ProviderGrant,
    paths: Iterable<string>,
    rotated: (refreshToken: string) => Promise<void>,
  ): Promise<Claims>;
}

/** One operation's view of the provider: its metadata, and a client whose requests share one deadline. */
interface Operation {
  readonly metadata: ServerMetadata;
  readonly configuration: Configuration;
  readonly request: IdpFetchOptions;
}

/** A client of `provider`. Nothing is asked of the provider yet. Throws a TypeError for an unusable client key. */
export function oidcClient(provider: OidcProvider, options: OidcOptions): OidcClient {
  const { now, allowLoopbackHttp, timeoutMs = 10_000 } = options;
  const redirectUri = new URL(options.redirectUri).href;
  const readMetadata = providerMetadata(provider, now);
  const authenticate = clientAuthentication(provider.clientAuth);
  const keyCache: JWKSCacheInput = {};

  async function operation(longestMs = timeoutMs): Promise<Operation> {
    const request = { allowLoopbackHttp, deadline: AbortSignal.timeout(longestMs) };
    const metadata = await readMetadata(request);
    const configuration = new Configuration(metadata, provider.clientId, undefined, await authenticate(metadata));
    configuration[customFetch] = idpFetch(request);
    for (const extend of httpExtensions(allowLoopbackHttp)) extend(configuration);
    return { metadata, configuration, request };
  }

  async function verified(
    { metadata, request }: Operation,
    idToken: string,
    expected: Pick<ExpectedIdToken, "nonce" | "accessToken" | "subject">,
  ): Promise<Claims> {
    // A fresh view each time over one cache: this operation's deadline, and a key that is new is fetched at once.
    const keys = createRemoteJWKSet(requireSecure(metadata.jwks_uri ?? "", allowLoopbackHttp), {
      [joseFetch]: idpFetch(request),
      [jwksCache]: keyCache,
      cooldownDuration: 0,
      timeoutDuration: timeoutMs,
    });
    const { issuer, clientId } = provider;
    return during("key set", verifyIdToken(idToken, keys, { issuer, clientId, now: now(), ...expected }));
  }

  /** `claims` and, where one of `paths` or the email is not among them, what userinfo adds. */
  async function completed(
    { metadata, configuration }: Operation,
    claims: Claims,
    accessToken: string,
    paths: Iterable<string>,
  ): Promise<Claims> {
    const read = ["email", "email_verified", ...paths];
    const complete = read.every((path) => claimAt(claims, path) !== undefined);
    const { userinfo_endpoint: endpoint } = metadata;
    if (complete || endpoint === undefined || !claimRulesOf(provider.kind).userinfoTellsMore) return claims;
    // Only matters to a userinfo response that is a signed JWT; the ID token has been verified by now.
    enableNonRepudiationChecks(configuration);
    const subject = claims["sub"] as string;
    const userinfo = await during("userinfo", fetchUserInfo(configuration, accessToken, subject));
    return mergeClaims(claims, userinfo as Claims);
  }

  return {
    async begin() {
      const { configuration } = await operation();
      const pending = { state: randomState(), nonce: randomNonce(), verifier: randomPKCECodeVerifier() };
      const url = await during("discovery", authorizationUrl(configuration, provider, redirectUri, pending));
      return { url: requireSecure(url, allowLoopbackHttp).href, pending };
    },

    async finish(callback, { state, nonce, verifier }, paths) {
      const started = await operation();
      requireIssuer(callback, started.metadata);
      const url = new URL(redirectUri);
      url.search = callback.toString();
      const checks = { expectedState: state, expectedNonce: nonce, pkceCodeVerifier: verifier, idTokenExpected: true };
      const tokens = await during("token request", authorizationCodeGrant(started.configuration, url, checks));
      const { access_token: accessToken, id_token: idToken = "", refresh_token: refreshToken } = tokens;
      const signed = await verified(started, idToken, { nonce, accessToken });
      const claims = await completed(started, signed, accessToken, paths);
      const sub = signed["sub"] as string;
      return { claims, ...(refreshToken !== undefined && { grant: { refreshToken, sub, nonce } }) };
    },

    async refresh({ refreshToken, sub, nonce }, paths, rotated) {
      const started = await operation(Math.min(timeoutMs, REFRESH_TIMEOUT_MS));
      const tokens = await during("refresh", refreshTokenGrant(started.configuration, refreshToken));
      const { access_token: accessToken, id_token: idToken, refresh_token: next = refreshToken } = tokens;
      if (next !== refreshToken) await rotated(next);
      if (idToken === undefined) return userinfoOnly(provider, await completed(started, { sub }, accessToken, paths));
      const signed = await verified(started, idToken, { nonce, accessToken, subject: sub });
      return completed(started, signed, accessToken, paths);
    },
  };
}

/** The claims, where userinfo told any: whoever gives neither it nor an ID token has said nothing. */
function userinfoOnly(provider: OidcProvider, claims: Claims): Claims {
  if (Object.keys(claims).length > 1) return claims;
  return refuse("idp_response_invalid", `the refresh at ${provider.id} gave neither an ID token nor userinfo`);
}

/** RFC 9207: an `iss` in the answer is the provider's own, and there is one where it says that it sends one. */
function requireIssuer(callback: URLSearchParams, metadata: ServerMetadata): void {
  const issuers = callback.getAll("iss");
  const promised = metadata.authorization_response_iss_parameter_supported === true;
  if (issuers.some((issuer) => issuer !== metadata.issuer) || (promised && issuers.length === 0)) {
    refuse("issuer_mismatch", "the answer's iss is not the provider's issuer");
  }
}

async function authorizationUrl(
  configuration: Configuration,
  provider: OidcProvider,
  redirectUri: string,
  pending: PendingAuthentication,
): Promise<string> {
  const { state, nonce, verifier } = pending;
  return buildAuthorizationUrl(configuration, {
    response_type: "code",
    redirect_uri: redirectUri,
    scope: provider.scopes.join(" "),
    state,
    nonce,
    code_challenge: await calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    ...(provider.organization !== undefined && { organization: provider.organization }),
  }).href;
}

/**
 * The ID token's claims and what userinfo adds. `email_verified` speaks of the email beside it: it is dropped where it
 * came from one of the two and the email from the other, unless both have the same.
 */
export function mergeClaims(idToken: Claims, userinfo: Claims): Claims {
  const merged = { ...userinfo, ...idToken };
  const voucher = Object.hasOwn(idToken, "email_verified") ? idToken : userinfo;
  if (voucher["email"] !== merged["email"]) delete merged["email_verified"];
  return merged;
}

async function during<T>(step: OidcStep, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw oidcRefusal(error, step);
  }
}
