import type { OidcProvider } from "../../src/config/config.ts";

export const TENANT = "3f6d1c0a-9b42-4f6e-8a57-c1d2e3f4a5b6";

const ISSUERS = {
  okta: "https://acme.okta.com",
  entra: `https://login.microsoftonline.com/${TENANT}/v2.0`,
  auth0: "https://acme.eu.auth0.com/",
  generic: "https://id.acme.example",
} as const satisfies Record<OidcProvider["kind"], string>;

/** A provider of the kind as the configuration would give it; `over` replaces fields. */
export function providerConfig(kind: OidcProvider["kind"], over: Partial<OidcProvider> = {}): OidcProvider {
  return {
    id: kind,
    kind,
    protocol: "oidc",
    directory: kind,
    label: kind,
    issuer: ISSUERS[kind],
    clientId: "client-of-rolecall",
    clientAuth: { method: "client_secret_basic", secret: "the client's secret" },
    scopes: ["openid", "email", "profile"],
    organization: undefined,
    emailDomains: ["acme.example"],
    claimsMaxAgeSeconds: 3600,
    ...over,
  };
}
