import {
  allowInsecureRequests,
  authorizationCodeGrant,
  AuthorizationResponseError,
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  ClientError,
  type Configuration,
  discovery,
  None,
  randomPKCECodeVerifier,
  randomState,
  refreshTokenGrant,
  ResponseBodyError,
  tokenRevocation,
  type TokenEndpointResponse,
} from "openid-client";
import { BrokerRefusal, BrokerUnavailable, CommandFailure, NotSignedIn } from "./failure.ts";
import { honourProxy, SECONDS, unavailable } from "./network.ts";

const CLIENT_ID = "rolecall-cli";
const SCOPE = "openid offline_access credentials";

/** RFC 6749, section 5.1: expires_in may be left out; then the token is renewed before its next use. */
const UNKNOWN_LIFETIME = 0;

/** A sign-in at one broker, as tokens.json keeps it. Times are milliseconds since 1970. */
export interface Tokens {
  readonly refreshToken: string;
  readonly accessToken: string;
  readonly accessTokenEnds: number;
  readonly signedInAt: number;
}

/** A sign-in that was begun: where to send the browser, and what its answer is checked against. */
export interface SignInRequest {
  readonly url: string;
  readonly state: string;
  /**
   * The tokens for the answer that came to the redirect address. Throws a CommandFailure unless state, issuer
   * (RFC 9207), code and PKCE verifier (RFC 7636) all hold.
   */
  redeem(answer: URL): Promise<Tokens>;
}

/** A sign-in by authorization code with PKCE (RFC 8252), whose answer is to come to `redirectUri`. */
export async function beginSignIn(broker: string, redirectUri: string): Promise<SignInRequest> {
  const config = await connect(broker);
  const state = randomState();
  const verifier = randomPKCECodeVerifier();
  const url = buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: SCOPE,
    state,
    code_challenge: await calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    // OpenID Connect Core, section 11: offline_access counts only where consent is asked for.
    prompt: "consent",
  });
  return { url: url.href, state, redeem };

  async function redeem(answer: URL): Promise<Tokens> {
    // The library asks for `iss` only where the metadata promise it; this broker always sends it.
    if (answer.searchParams.get("iss") !== config.serverMetadata().issuer) {
      throw new CommandFailure("the answer came from another server than the one that was asked", {
        hint: "run rolecall login again; if it stays so, tell your security team",
      });
    }
    const checks = { expectedState: state, pkceCodeVerifier: verifier };
    const response = await authorizationCodeGrant(config, answer, checks).catch((error: unknown) => {
      throw explain(broker, error);
    });
    const tokens = tokensOf(response);
    if (tokens.refreshToken === undefined) throw new CommandFailure("the broker sent no refresh token");
    return { ...tokens, refreshToken: tokens.refreshToken, signedInAt: Date.now() };
  }
}

/** New tokens for a refresh token, which is used up by this. Throws NotSignedIn where the broker rejects it. */
export async function refresh(
  broker: string,
  refreshToken: string,
): Promise<Omit<Tokens, "signedInAt" | "refreshToken"> & { refreshToken: string }> {
  const config = await connect(broker);
  const response = await refreshTokenGrant(config, refreshToken).catch((error: unknown) => {
    throw explain(broker, error);
  });
  const tokens = tokensOf(response);
  return { ...tokens, refreshToken: tokens.refreshToken ?? refreshToken };
}

/** The sign-in is ended at the broker (RFC 7009), with every token that came of it. */
export async function revoke(broker: string, refreshToken: string): Promise<void> {
  const config = await connect(broker);
  await tokenRevocation(config, refreshToken, { token_type_hint: "refresh_token" }).catch((error: unknown) => {
    throw explain(broker, error);
  });
}

async function connect(broker: string): Promise<Configuration> {
  honourProxy();
  const issuer = new URL(`${broker}/oauth`);
  const options = {
    timeout: SECONDS.oauth,
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- marked so as a warning; parseBrokerUrl keeps http on this machine
    ...(issuer.protocol === "http:" && { execute: [allowInsecureRequests] }),
  };
  const config = await discovery(issuer, CLIENT_ID, undefined, None(), options).catch((error: unknown) => {
    throw explain(broker, error);
  });
  const metadata = config.serverMetadata();
  const { authorization_endpoint, token_endpoint, revocation_endpoint } = metadata;
  for (const endpoint of [authorization_endpoint, token_endpoint, revocation_endpoint]) {
    // Codes and tokens go to the broker alone, whatever its metadata say.
    if (endpoint === undefined || URL.parse(endpoint)?.origin !== issuer.origin) {
      throw new CommandFailure(
        `the broker at ${broker} names an OAuth endpoint at another address, or leaves one out`,
        {
          hint: "tell the people who run Rolecall",
        },
      );
    }
  }
  return config;
}

function tokensOf(response: TokenEndpointResponse): {
  accessToken: string;
  accessTokenEnds: number;
  refreshToken: string | undefined;
} {
  return {
    accessToken: response.access_token,
    accessTokenEnds: Date.now() + (response.expires_in ?? UNKNOWN_LIFETIME) * 1000,
    refreshToken: response.refresh_token,
  };
}

/** An error of openid-client in the words of this program. */
function explain(broker: string, error: unknown): CommandFailure {
  if (error instanceof AuthorizationResponseError) {
    return oauthRefusal(error.error === "access_denied" ? "the sign-in was declined" : "the broker refused", error);
  }
  if (error instanceof ResponseBodyError) {
    if (error.status >= 500 || error.status === 429) return failed(broker, error.status);
    if (error.error === "invalid_grant") return new NotSignedIn("your sign-in has ended", broker);
    return oauthRefusal("the broker refused", error);
  }
  const status = error instanceof Error && error.cause instanceof Response ? error.cause.status : undefined;
  if (status !== undefined && (status >= 500 || status === 429)) return failed(broker, status);
  if (status !== undefined && status >= 400) {
    return new CommandFailure(`no Rolecall broker answers at ${broker} (HTTP ${status})`, {
      hint: "check the address: rolecall login --broker URL",
      cause: error,
    });
  }
  if (error instanceof TypeError || (error instanceof ClientError && error.code === "OAUTH_TIMEOUT")) {
    return unavailable(broker, error);
  }
  const why = error instanceof ClientError ? `: ${error.message}` : "";
  return new CommandFailure(`the answer of the broker at ${broker} could not be trusted${why}`, {
    hint: "check the address; if it is right, tell the people who run Rolecall",
    cause: error,
  });
}

function failed(broker: string, status: number): BrokerUnavailable {
  const what = status === 429 ? "has too many requests just now" : "failed";
  return new BrokerUnavailable(`the broker at ${broker} ${what} (HTTP ${status})`, {
    hint: "try again in a minute; if it stays so, tell the people who run Rolecall",
  });
}

/** `error` and `error_description` of RFC 6749, sections 4.1.2.1 and 5.2: written for people, and no secret. */
function oauthRefusal(
  sentence: string,
  error: { error: string; error_description?: string | undefined },
): BrokerRefusal {
  const description = error.error_description === undefined ? "" : `: ${error.error_description}`;
  return new BrokerRefusal(error.error, `${sentence} (${error.error}${description})`, {
    hint: "run: rolecall login",
    details: [],
  });
}
