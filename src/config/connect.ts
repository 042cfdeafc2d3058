import type { OidcProvider, ProviderConfig, SamlProvider } from "./config.ts";
import { checkPrivateKey, readCertificates, readTextFile, type SecretReference } from "./references.ts";
import { seconds } from "./checks.ts";
import type { ConfigFile } from "./schema.ts";

type Provider = ConfigFile["providers"][number];
type Oidc = Extract<Provider, { protocol: "oidc" }>;
type Saml = Extract<Provider, { protocol: "saml" }>;

/** What one provider's fields are read with. */
export interface Reading {
  /** `providers[0]`. */
  readonly path: string;
  /** The configuration file's own. */
  readonly folder: string;
  readonly baseUrl: string;
  /** Undefined: secrets are not wanted. */
  readonly readSecretAt: ((reference: SecretReference, path: string) => string) | undefined;
  readonly add: (path: string, message: string) => void;
}

const DEFAULT_SCOPES = ["openid", "email", "profile"];

/** What is asked for: these kinds give a refresh token for the scope of OpenID Connect Core 11, without more ado. */
function defaultScopes(kind: Provider["kind"]): string[] {
  return kind === "generic" ? DEFAULT_SCOPES : [...DEFAULT_SCOPES, "offline_access"];
}

/** The provider with its defaults filled in and its files and secrets read; what can't be read is a fault. */
export function connectProvider(provider: Provider, reading: Reading): ProviderConfig {
  return provider.protocol === "oidc" ? connectOidc(provider, reading) : connectSaml(provider, reading);
}

function connectOidc(provider: Oidc, reading: Reading): OidcProvider {
  return {
    ...common(provider),
    protocol: "oidc",
    clientId: provider.clientId,
    clientAuth: clientAuthOf(provider, reading),
    scopes: provider.scopes ?? defaultScopes(provider.kind),
  };
}

function connectSaml(provider: Saml, reading: Reading): SamlProvider {
  const { requestBinding, wantResponseSigned, forceAuthn, subjectClaim, entryPoint, certificates } = provider;
  return {
    ...common(provider),
    protocol: "saml",
    spEntityId: provider.spEntityId ?? `${reading.baseUrl}/login/${provider.id}/metadata`,
    entryPoint,
    certificates: certificatesIn(certificates, "certificates", reading),
    metadata: metadataOf(provider, reading),
    requestBinding,
    wantResponseSigned,
    forceAuthn,
    subjectClaim,
  };
}

function common(
  provider: Provider,
): Pick<
  ProviderConfig,
  "id" | "kind" | "directory" | "label" | "issuer" | "organization" | "emailDomains" | "claimsMaxAgeSeconds"
> {
  const { id, kind, issuer, organization, emailDomains } = provider;
  return {
    id,
    kind,
    directory: provider.directory ?? id,
    label: provider.label ?? id,
    issuer,
    organization,
    emailDomains,
    claimsMaxAgeSeconds: seconds(provider.claimsMaxAge),
  };
}

function metadataOf({ metadata }: Saml, reading: Reading): SamlProvider["metadata"] {
  if (metadata?.url !== undefined) {
    return { url: metadata.url, signedBy: certificatesIn(metadata.signedBy, "metadata.signedBy", reading) };
  }
  if (metadata?.file === undefined) return undefined;
  const text = readTextFile(metadata.file, reading.folder, (message) => {
    reading.add(`${reading.path}.metadata.file`, message);
  });
  return { text: text ?? "" };
}

function certificatesIn(files: Saml["certificates"], field: string, { path, folder, add }: Reading): string[] {
  return (files ?? []).flatMap(({ file }, i) =>
    readCertificates(file, folder, (message) => {
      add(`${path}.${field}[${i}].file`, message);
    }),
  );
}

function clientAuthOf(
  { clientAuth: method, clientSecret, clientKey }: Oidc,
  { path, readSecretAt, add }: Reading,
): OidcProvider["clientAuth"] {
  if (method !== "private_key_jwt")
    return { method, secret: (clientSecret && readSecretAt?.(clientSecret, `${path}.clientSecret`)) ?? "" };
  const key = (clientKey && readSecretAt?.(clientKey, `${path}.clientKey`)) ?? "";
  if (key !== "")
    checkPrivateKey(key, (message) => {
      add(`${path}.clientKey`, message);
    });
  return { method, key };
}
