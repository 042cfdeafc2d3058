import { Refusal } from "./errors.ts";

/** How long a federation token lives (seconds): minutes, and it never leaves the broker (law 7). */
const TOKEN_LIFETIME = 300;

export interface FederationTokenInput {
  /** `BASE/federation`, by either way. */
  readonly issuer: string;
  readonly audience: string;
  readonly sessionName: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly transitiveTags: readonly string[];
  readonly roleArn: string;
  readonly tokenId: string;
  /** Epoch milliseconds. */
  readonly now: number;
}

/**
 * What the federation token says, as a JWT has it (IAM user guide, "Passing session tags using
 * AssumeRoleWithWebIdentity"). A SAML assertion is made from the same claims, so that both ways say the same.
 */
export interface FederationClaims {
  readonly iss: string;
  readonly sub: string;
  readonly aud: string;
  readonly iat: number;
  readonly exp: number;
  readonly jti: string;
  readonly "https://aws.amazon.com/tags": {
    readonly principal_tags: Readonly<Record<string, readonly [string]>>;
    readonly transitive_tag_keys: readonly string[];
  };
  readonly "https://aws.amazon.com/source_identity": string;
  readonly "https://aws.amazon.com/roles": readonly string[];
}

/**
 * The claims that STS is to believe. `sub`, source identity and session name are one string, and the shipped trust
 * policy binds them (law 3). One `aud` and no `azp`, which would take its place; whole seconds; single tag values in
 * lists, as STS demands.
 */
export function federationClaims(input: FederationTokenInput): FederationClaims {
  const iat = Math.floor(input.now / 1000);
  return {
    iss: input.issuer,
    sub: input.sessionName,
    aud: input.audience,
    iat,
    exp: iat + TOKEN_LIFETIME,
    jti: input.tokenId,
    "https://aws.amazon.com/tags": {
      principal_tags: Object.fromEntries(Object.entries(input.tags).map(([key, value]) => [key, [value]])),
      transitive_tag_keys: input.transitiveTags.filter((key) => Object.hasOwn(input.tags, key)),
    },
    "https://aws.amazon.com/source_identity": input.sessionName,
    "https://aws.amazon.com/roles": [input.roleArn],
  };
}

/** A signed federation token. `text` goes to STS and nowhere else; the ledger has `sha256` (hex, of `text`) and `keyId`. */
export interface SignedFederationToken {
  /** The JWT, or the SAML Response in base64. */
  readonly text: string;
  readonly sha256: string;
  readonly keyId: string;
}

/**
 * Signs, and checks the result against the documents that AWS will read before anybody sends it. `durationSeconds`: how
 * long the session is to live; a SAML assertion says it too. Rejects with {@link Refusal} `federation_token_invalid`,
 * since STS answers a dozen different faults with one message.
 */
export type SignFederationToken = (claims: FederationClaims, durationSeconds: number) => Promise<SignedFederationToken>;

/** Throws unless STS answered with what was asked for: this role of this account, under this name and source identity. */
export function requireSession(
  session: { readonly sessionArn: string; readonly sourceIdentity: string | undefined },
  roleArn: string,
  sessionName: string,
): void {
  if (session.sessionArn !== sessionArnOf(roleArn, sessionName)) {
    throw new Refusal("sts_response_invalid", "STS answered with another role or session name");
  }
  if (session.sourceIdentity !== sessionName) {
    throw new Refusal("sts_response_invalid", "STS answered with another source identity");
  }
}

/** The ARN that a role session has; a role's path is not in it (IAM user guide, "IAM identifiers"). */
export function sessionArnOf(roleArn: string, sessionName: string): string {
  const [, partition, , , account, resource = ""] = roleArn.split(":");
  return `arn:${partition}:sts::${account}:assumed-role/${resource.split("/").at(-1)}/${sessionName}`;
}
