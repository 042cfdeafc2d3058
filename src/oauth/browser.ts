import type { Configuration, Provider } from "oidc-provider";

/**
 * The cookies that tie a pending approval to the browser that it began in. Each counts below its own request's
 * address only, so that two tabs don't meet; signed, HttpOnly, Lax, and Secure over https.
 */
export function cookies(issuer: string, keys: readonly string[]): Configuration["cookies"] {
  const secure = issuer.startsWith("https:");
  // A cookie with a path of its own can't be __Host- (RFC 6265bis, 4.1.3).
  const prefix = secure ? "__Secure-rolecall-" : "rolecall-";
  const attributes = { httpOnly: true, sameSite: "lax", signed: true, secure } as const;
  return {
    keys: [...keys],
    names: { session: `${prefix}oauth`, interaction: `${prefix}approval`, resume: `${prefix}resume` },
    short: attributes,
    long: { ...attributes, path: new URL(issuer).pathname },
  };
}

/**
 * Makes every address and the cookies' Secure follow the issuer alone: no Host and no X-Forwarded-* header has a say,
 * whatever proxy stands in front.
 */
export function fixOrigin(provider: Provider, issuer: string): void {
  const { protocol, host } = new URL(issuer);
  Object.defineProperties(provider.request, {
    protocol: { get: () => protocol.slice(0, -1) },
    host: { get: () => host },
  });
}

/** oidc-provider's own sessions are not kept (adapter.ts): their cookie would say nothing, so it is not sent. */
export function withoutSessionCookie(provider: Provider): void {
  const name = provider.cookieName("session");
  provider.use(async (ctx, next) => {
    await next();
    const all = [ctx.res.getHeader("set-cookie") ?? []].flat().map(String);
    const kept = all.filter((cookie) => !cookie.startsWith(`${name}=`) && !cookie.startsWith(`${name}.sig=`));
    if (kept.length < all.length) ctx.res.setHeader("set-cookie", kept);
  });
}
