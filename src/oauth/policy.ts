import type { ClientMetadata, Configuration, Grant, KoaContextWithOIDC } from "oidc-provider";
import { LONGEST_LIFE } from "./adapter.ts";
import type { Grants } from "./grants.ts";

/** The one client: the employees' command line. Public, so that PKCE and the loopback redirect are what guards it. */
const COMMAND_LINE: ClientMetadata = {
  client_id: "rolecall-cli",
  client_name: "Rolecall command line",
  application_type: "native",
  token_endpoint_auth_method: "none",
  grant_types: ["authorization_code", "refresh_token"],
  response_types: ["code"],
  // Any port of these, chosen when the program starts to listen (RFC 8252, 7.3).
  redirect_uris: ["http://127.0.0.1/callback", "http://[::1]/callback"],
};

/** What an access token must carry to be given credentials. */
export const CREDENTIALS_SCOPE = "credentials";

/** What a client brings to be given tokens. */
export interface BroughtToken {
  readonly kind: "AuthorizationCode" | "RefreshToken";
  readonly grantId: string;
}

/** What the authorization server allows: everything that oidc-provider decides, in one place (RFC 9700, RFC 8252). */
export function policy(settings: {
  readonly grants: Grants;
  /** Of the ID tokens. */
  readonly signingAlgorithm: "ES256" | "RS256";
  readonly signInMaxAgeSeconds: number;
  /** Rejects where a code or refresh token of that grant may be given no tokens now; it is not used up by that. */
  readonly admit: (ctx: KoaContextWithOIDC, accountId: string, brought: BroughtToken) => Promise<void>;
}): Configuration {
  return {
    clients: [{ ...COMMAND_LINE, id_token_signed_response_alg: settings.signingAlgorithm }],
    responseTypes: ["code"],
    scopes: ["openid", "offline_access", CREDENTIALS_SCOPE],
    claims: { openid: ["sub"] },
    clientAuthMethods: ["none"],
    enabledJWA: { idTokenSigningAlgValues: [settings.signingAlgorithm] },
    clientBasedCORS: () => false,
    pkce: { required: () => true },

    // The grants outlive the browser's session, and only our own page begins one.
    expiresWithSession: () => false,
    loadExistingGrant: (ctx) => {
      const grantId = ctx.oidc.result?.consent?.grantId;
      return grantId === undefined ? undefined : ctx.oidc.provider.Grant.find(grantId);
    },
    // Asked before a code or a refresh token is used up.
    async findAccount(ctx, accountId, token) {
      const kind = token?.kind;
      if ((kind === "RefreshToken" || kind === "AuthorizationCode") && token?.grantId !== undefined) {
        await settings.admit(ctx, accountId, { kind, grantId: token.grantId });
      }
      return { accountId, claims: () => ({ sub: accountId }) };
    },

    issueRefreshToken: () => true,
    rotateRefreshToken: () => true,
    revokeGrantPolicy: () => true,
    ttl: {
      Interaction: LONGEST_LIFE.interaction,
      AuthorizationCode: LONGEST_LIFE.code,
      AccessToken: (ctx) => withinGrant(ctx, LONGEST_LIFE["access-token"]),
      RefreshToken: (ctx) => withinGrant(ctx, LONGEST_LIFE["refresh-token"]),
      IdToken: LONGEST_LIFE["access-token"],
      Grant: settings.signInMaxAgeSeconds,
      // Never kept (adapter.ts).
      Session: 1,
    },

    features: {
      devInteractions: { enabled: false },
      claimsParameter: { enabled: false },
      dPoP: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
      resourceIndicators: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      userinfo: { enabled: false },
      // `rolecall logout`: any token of a grant ends all of it.
      revocation: {
        enabled: true,
        async allowedPolicy(_ctx, client, token) {
          if (token.clientId !== client.clientId) return false;
          if ("grantId" in token && token.grantId !== undefined) await settings.grants.end(token.grantId);
          return true;
        },
      },
    },
  };
}

/** Seconds: no token outlives its grant, which ends when the sign-in is too old. */
function withinGrant(ctx: KoaContextWithOIDC | undefined, longest: number): number {
  const grant: Grant | undefined = ctx?.oidc.entities.Grant;
  const left = (grant?.exp ?? 0) - Math.floor(Date.now() / 1000);
  return Math.max(1, Math.min(longest, left));
}
