import type { KoaContextWithOIDC, Provider } from "oidc-provider";
import type { ReasonCode } from "../flow/errors.ts";
import type { Log } from "../flow/ports.ts";
import type { Grants, LiveGrant, TokenRequest } from "./grants.ts";

export type OnTokenRefused = (grant: LiveGrant, request: TokenRequest, reason: ReasonCode) => Promise<void>;

/** Why a request was refused, where that was not for what it brought. */
export type RefusalsByRequest = WeakMap<object, ReasonCode>;

/**
 * Reports, before the answer goes out, every request to the token endpoint that brought a live code or refresh token
 * and was refused all the same: another verifier or redirect URI, a scope that was never granted. Whoever sent it
 * holds what may not be theirs. A second use is not among them: it has ended the grant, and was reported as that.
 */
export function watchRefusedTokens(
  provider: Provider,
  grants: Grants,
  refusals: RefusalsByRequest,
  { onTokenRefused, log }: { readonly onTokenRefused: OnTokenRefused; readonly log: Log },
): void {
  provider.use(async (ctx, next) => {
    await next();
    // Too often (429) is the account's limit, which is recorded once a minute.
    if (ctx.status < 400 || ctx.status >= 500 || ctx.status === 429 || !isTokenRequest(ctx)) return;
    try {
      const grant = await grantBrought(ctx, provider, grants);
      if (grant !== undefined) await onTokenRefused(grant, ctx, refusals.get(ctx) ?? "token_request_invalid");
    } catch (error) {
      // It stays refused either way.
      log.error({ err: error }, "a refused token request could not be recorded");
    }
  });
}

/** What no route answers has no `oidc`. */
function isTokenRequest(ctx: object): ctx is KoaContextWithOIDC {
  return (ctx as Partial<KoaContextWithOIDC>).oidc?.route === "token";
}

async function grantBrought(
  ctx: KoaContextWithOIDC,
  provider: Provider,
  grants: Grants,
): Promise<LiveGrant | undefined> {
  const { code, refresh_token: refreshToken } = ctx.oidc.params ?? {};
  const brought =
    (typeof code === "string" ? await provider.AuthorizationCode.find(code) : undefined) ??
    (typeof refreshToken === "string" ? await provider.RefreshToken.find(refreshToken) : undefined);
  return brought?.grantId === undefined ? undefined : grants.liveGrant(brought.grantId);
}
