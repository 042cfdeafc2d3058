import { errors } from "jose";
import {
  AuthorizationResponseError,
  ClientError,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
} from "openid-client";
import { Refusal, type ReasonCode } from "../flow/errors.ts";

/** What was under way when something failed. */
export type OidcStep = "discovery" | "token request" | "refresh" | "key set" | "userinfo";

/** Authorization responses (RFC 6749 4.1.2.1) that are not the provider's no to this person. Any other `error` is. */
const AUTHORIZATION_ERRORS: Readonly<Record<string, ReasonCode>> = {
  unauthorized_client: "idp_client_rejected",
  invalid_client: "idp_client_rejected",
  server_error: "idp_unreachable",
  temporarily_unavailable: "idp_unreachable",
};

/** What a token endpoint says to a refresh token (RFC 6749 5.2; the others come of Entra ID and Auth0). */
const REFRESH_ERRORS: Readonly<Record<string, ReasonCode>> = {
  invalid_grant: "sign_in_revoked",
  interaction_required: "claims_expired",
  login_required: "claims_expired",
  consent_required: "claims_expired",
  access_denied: "idp_denied",
};

/**
 * The Refusal for whatever openid-client, jose or our own fetch threw; anything else comes back as it is thrown, by
 * throwing it. Messages carry the libraries' own fixed texts and codes: their causes hold tokens and claims, and the
 * provider's `error_description` may hold anything, so neither is kept.
 */
export function oidcRefusal(error: unknown, step: OidcStep): Refusal {
  const own = refusalIn(error);
  if (own) return own;
  if (error instanceof AuthorizationResponseError) return authorizationRefusal(error.error);
  const answer = step === "refresh" ? refreshRefusal(error) : undefined;
  if (answer) return answer;
  if ((step === "token request" || step === "refresh") && rejectsClient(error)) {
    return new Refusal("idp_client_rejected", "the token endpoint does not accept the client's credentials");
  }
  const fault = libraryFault(error);
  if (fault === undefined) throw error;
  return new Refusal("idp_response_invalid", `${step}: ${fault}`);
}

/** openid-client wraps what a fetch throws. */
function refusalIn(error: unknown): Refusal | undefined {
  if (error instanceof Refusal) return error;
  return error instanceof Error && error.cause instanceof Refusal ? error.cause : undefined;
}

function authorizationRefusal(code: string): Refusal {
  // The callback's query is anybody's to write: only what looks like a registered code is repeated.
  const named = /^[a-z_]{1,40}$/.test(code) ? code : "an error of no known form";
  const reason = Object.hasOwn(AUTHORIZATION_ERRORS, code) ? AUTHORIZATION_ERRORS[code] : undefined;
  return new Refusal(reason ?? "idp_denied", `the provider answered the sign-in with ${named}`);
}

/** The provider's no to a refresh token; undefined: not about the token. */
function refreshRefusal(error: unknown): Refusal | undefined {
  if (!(error instanceof ResponseBodyError) || !Object.hasOwn(REFRESH_ERRORS, error.error)) return undefined;
  // Auth0 answers a wrong client secret so.
  if (error.error === "access_denied" && error.status === 401) return undefined;
  const code = REFRESH_ERRORS[error.error];
  return code && new Refusal(code, `the provider answered the refresh token with ${error.error}`);
}

/** RFC 6749 5.2, and any 401: Auth0 answers a wrong secret with `access_denied`. */
function rejectsClient(error: unknown): boolean {
  if (error instanceof ResponseBodyError) {
    return error.status === 401 || ["invalid_client", "unauthorized_client"].includes(error.error);
  }
  if (error instanceof WWWAuthenticateChallengeError) return error.status === 401;
  return error instanceof Error && error.cause instanceof Response && error.cause.status === 401;
}

/** The fixed text of an error of openid-client or jose, and its code; openid-client's cause says more than itself. */
function libraryFault(error: unknown): string | undefined {
  if (error instanceof ResponseBodyError) return `it was refused with status ${error.status}`;
  if (!isLibraryError(error)) return undefined;
  const { message, code } = isLibraryError(error.cause) ? error.cause : error;
  return code === undefined ? message : `${message} (${code})`;
}

/** openid-client lets some errors of its base library through, which only their code tells. */
function isLibraryError(error: unknown): error is Error & { code?: string } {
  if (error instanceof ClientError || error instanceof errors.JOSEError) return true;
  if (error instanceof WWWAuthenticateChallengeError) return true;
  return error instanceof Error && "code" in error && typeof error.code === "string" && error.code.startsWith("OAUTH_");
}
