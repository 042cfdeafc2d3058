import type { RateLimitSettings } from "../flow/rate-limit.ts";
import type { Mapping, TagRules } from "../flow/tags.ts";

/** What a configuration was read from. */
export interface ConfigSource {
  /** SHA-256 of the file's bytes, hex, as `sha256sum` prints it; undefined: it could not be read. */
  readonly sha256: string | undefined;
  /** Absolute: the file itself, then the `allowed` files that it names. */
  readonly files: readonly string[];
}

/** One way to a role of the broker's own: a claim of a provider, and the values that give it. */
interface AccessRule {
  readonly provider: string;
  readonly claim: string;
  readonly match: readonly string[];
}

/** The configuration as the rest of the program reads it: checked whole, references resolved, durations in seconds. */
export interface Config {
  readonly environment: "production" | "development";
  /** Without a slash at the end. */
  readonly baseUrl: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** Proxies in front whose X-Forwarded-* count; 0: none. */
  readonly trustProxy: number;
  /** Absolute. */
  readonly stateDir: string;
  readonly aws: {
    readonly region: string;
    readonly roleArn: string;
    readonly federation: "web-identity" | "saml";
    /** Where `federation` is saml. */
    readonly samlProviderArn: string | undefined;
    readonly audience: string;
    readonly sessionDurationSeconds: number;
    readonly signingAlgorithm: "ES256" | "RS256";
    readonly transitiveTags: readonly string[];
    readonly stsEndpoint: string | undefined;
    readonly kmsEndpoint: string | undefined;
    readonly models: readonly string[];
  };
  readonly providers: readonly ProviderConfig[];
  readonly signInMaxAgeSeconds: number;
  /** Rules with their `allowed` files read: the source of `mapping`, and what `template` reads keys from. */
  readonly tags: TagRules;
  readonly mapping: Mapping;
  /** Who has which of the broker's own roles. */
  readonly access: Readonly<Record<"auditor" | "admin" | "finance", readonly AccessRule[]>>;
  /** Between the word to stop and the end of listening. */
  readonly stopDelaySeconds: number;
  readonly rateLimits: RateLimitSettings;
  /** Resolved; undefined: the in-memory store (development only). */
  readonly redisUrl: string | undefined;
  /** Resolved, a PostgreSQL URL; undefined: SQLite in `stateDir`. */
  readonly ledgerUrl: string | undefined;
  /** Resolved: the key that signs checkpoints, as JSON; undefined: it lies in keys.json. */
  readonly checkpointKey: string | undefined;
  readonly source: ConfigSource;
}

export type ProviderConfig = OidcProvider | SamlProvider;

interface AnyProvider {
  readonly id: string;
  readonly kind: "okta" | "entra" | "auth0" | "generic";
  readonly directory: string;
  readonly label: string;
  /** Exactly as the provider writes it, a slash at the end included; SAML: its entity ID. */
  readonly issuer: string;
  readonly organization: string | undefined;
  /** Lower case. */
  readonly emailDomains: readonly string[];
  readonly claimsMaxAgeSeconds: number;
}

export interface OidcProvider extends AnyProvider {
  readonly protocol: "oidc";
  readonly clientId: string;
  readonly clientAuth:
    | { readonly method: "client_secret_basic" | "client_secret_post"; readonly secret: string }
    | { readonly method: "private_key_jwt"; /** PKCS #8 PEM */ readonly key: string };
  readonly scopes: readonly string[];
}

export interface SamlProvider extends AnyProvider {
  readonly protocol: "saml";
  /** The broker's entity ID at this provider. */
  readonly spEntityId: string;
  /** Undefined: the metadata says it. */
  readonly entryPoint: string | undefined;
  /** PEM, one certificate each; the only ones that count, where there are some. */
  readonly certificates: readonly string[];
  readonly metadata:
    | { readonly text: string }
    | {
        readonly url: string;
        /** PEM; empty: `certificates` are what makes it trusted. */ readonly signedBy: readonly string[];
      }
    | undefined;
  readonly requestBinding: "HTTP-Redirect" | "HTTP-POST";
  readonly wantResponseSigned: boolean;
  readonly forceAuthn: boolean;
  /** Undefined: the persistent NameID, or what the kind has. */
  readonly subjectClaim: string | undefined;
}
