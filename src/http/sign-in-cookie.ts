import { randomBytes } from "node:crypto";
import type { Request, Response } from "express";
import type { ProviderConfig } from "../config/config.ts";
import { isHttps } from "./guard.ts";
import { cookieAttributes } from "./sessions.ts";

type Protocol = ProviderConfig["protocol"];

/** A sign-in may take this long (milliseconds): as long as its state is kept. */
const SIGN_IN_LIFETIME = 600_000;

/**
 * Gives the browser its sign-in cookie, or the one that it has once more; returns the secret in it. Two tabs share the
 * cookie; each has a state of its own. SAML's answer is another site's POST, which brings `SameSite=None` cookies alone
 * (RFC 6265bis, 5.6.7.2): so that is a cookie of its own, worth nothing but for the sign-ins that were begun with it.
 */
export function giveSignInCookie(req: Request, res: Response, baseUrl: string, protocol: Protocol): string {
  const secret = signInCookie(req, baseUrl, protocol) ?? randomBytes(32).toString("base64url");
  const attributes = { ...cookieAttributes(baseUrl), maxAge: SIGN_IN_LIFETIME };
  // Browsers take Secure from a loopback address, too.
  const crossSite = { sameSite: "none", secure: true } as const;
  res.cookie(nameOf(baseUrl, protocol), secret, { ...attributes, ...(protocol === "saml" && crossSite) });
  return secret;
}

/** The secret in the browser's sign-in cookie, where it has one of ours: 32 bytes in base64url. */
export function signInCookie(req: Request, baseUrl: string, protocol: Protocol): string | undefined {
  const prefix = `${nameOf(baseUrl, protocol)}=`;
  const pair = req.headers.cookie?.split(/; */).find((candidate) => candidate.startsWith(prefix));
  const value = pair?.slice(prefix.length);
  return value !== undefined && /^[\w-]{43}$/.test(value) ? value : undefined;
}

function nameOf(baseUrl: string, protocol: Protocol): string {
  const name = protocol === "saml" ? "rolecall-saml-login" : "rolecall-login";
  return isHttps(baseUrl) ? `__Host-${name}` : name;
}
