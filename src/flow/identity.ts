/**
 * Who signed in, whichever provider and protocol it was. The one thing that leaves `idp/`, and all that the rest of
 * the way reads. A person is (directory, subject); an email is an attribute, never a key.
 */

export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };

/**
 * The claims that some rule reads, by the rule's own expression (a claim's name or a JSON pointer). `null` means
 * that the provider was asked and sent nothing; a missing key, that no rule read the claim when the person signed in.
 */
export type KeptClaims = Readonly<Record<string, JsonValue>>;

export interface Identity {
  /** Provider ID of the configuration. */
  readonly provider: string;
  /** Providers that speak for the same people share it. */
  readonly directory: string;
  /** OIDC `sub`; Entra ID `tid/oid`; SAML a persistent NameID, or an attribute. Unique in its directory. */
  readonly subject: string;
  /** Verified, of a domain that the provider may speak for; as sent, not lower-cased. */
  readonly email: string;
  readonly claims: KeptClaims;
  /** When the person proved who they are (epoch milliseconds). */
  readonly signedInAt: number;
  /** When the provider last said what `claims` holds (epoch milliseconds). */
  readonly claimsAt: number;
  /** Random name of what is held for asking the provider again; left out: it gave nothing to ask with. */
  readonly refreshId?: string;
  /** The row that records this sign-in (`login.succeeded`), and its request ID; left out: not recorded yet. */
  readonly signIn?: { readonly id: string; readonly seq: number };
  /** SAML: names of the sign-in, any of which its provider can end; hashes. */
  readonly endedBy?: readonly string[];
}

/**
 * `path` looked up in `claims`: a JSON pointer (RFC 6901) where it begins with `/`, otherwise one claim's name. Own
 * properties only, so that `__proto__` and `constructor` are as absent as any other claim that nobody sent.
 * Returns undefined where nothing is there; a JSON null counts as nothing.
 */
export function claimAt(claims: Readonly<Record<string, JsonValue>>, path: string): JsonValue | undefined {
  const steps = path.startsWith("/")
    ? path
        .slice(1)
        .split("/")
        .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"))
    : [path];
  let value: JsonValue | undefined = claims;
  for (const step of steps) {
    if (value === null || typeof value !== "object" || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string, JsonValue>)[step];
  }
  return value ?? undefined;
}

/** What is kept of a sign-in's claims: the answer to each of `paths`, `null` where the provider sent nothing. */
export function keepClaims(claims: Readonly<Record<string, JsonValue>>, paths: Iterable<string>): KeptClaims {
  return Object.fromEntries([...paths].map((path) => [path, claimAt(claims, path) ?? null]));
}
