import { X509Certificate } from "node:crypto";
import { compactVerify, decodeProtectedHeader, importJWK, type JWK } from "jose";
import { z } from "zod";
import type { DeployedOidcProvider } from "./role-template.ts";
import { sessionTags, sourceIdentity, tagsOf, type FederatedIdentity } from "./session-tags.ts";
import { StsFault } from "./sts-fault.ts";

/** IAM user guide, "Create an OIDC identity provider": no EdDSA, no PS*. */
const ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"];
/** Seconds that a clock may be wrong by. */
const SKEW = 300;
const MAX_KEYS_OF_A_TYPE = 100;

/** What STS takes from a token that it believes. */
export interface WebIdentity extends FederatedIdentity {
  /** Undefined: the token names no roles. */
  readonly roles: readonly string[] | undefined;
}

/** AWS says one thing of a wrong key, signature, `kid`, `use`, `key_ops` and `x5c`. */
const NO_KEY =
  "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements";

/**
 * The identity that `token` proves to STS: signed by a key that the registered provider publishes now, for a registered
 * audience, fresh, and well-formed as STS reads it. Rejects with a {@link StsFault}.
 */
export async function verifyWebIdentity(
  token: string,
  provider: DeployedOidcProvider,
  now: number,
  published: PublishedKeys,
): Promise<WebIdentity> {
  const { header, claims } = decode(token);
  if (claims["iss"] !== provider.url) {
    throw invalid("No OpenIDConnect provider found in your account for the token's issuer");
  }
  const alg = typeof header["alg"] === "string" ? header["alg"] : "";
  if (!ALGORITHMS.includes(alg)) throw invalid("The token's algorithm is not supported");
  const { discovery, keys } = await published.of(provider.url, now);
  if (!discovery.id_token_signing_alg_values_supported.includes(alg)) throw invalid(NO_KEY);
  await requireSignature(token, alg, selectKey(keys, header["kid"]));
  return readClaims(claims, provider.audiences, now);
}

type Json = Readonly<Record<string, unknown>>;

function decode(token: string): { header: Json; claims: Json } {
  try {
    const header = decodeProtectedHeader(token) as Json;
    const payload = token.split(".")[1] ?? "";
    return { header, claims: z.record(z.string(), z.unknown()).parse(JSON.parse(fromBase64url(payload))) };
  } catch {
    throw invalid("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)");
  }
}

function fromBase64url(text: string): string {
  return Buffer.from(text, "base64url").toString("utf8");
}

const discoverySchema = z.object({
  issuer: z.string(),
  jwks_uri: z.string(),
  id_token_signing_alg_values_supported: z.array(z.string()),
});
const jwksSchema = z.object({ keys: z.array(z.record(z.string(), z.unknown())) });
type PublishedKey = z.infer<typeof jwksSchema>["keys"][number];

interface Published {
  readonly discovery: z.infer<typeof discoverySchema>;
  readonly keys: PublishedKey[];
}

/**
 * What an issuer publishes, read again once it is older than a time. How long AWS keeps it is not documented; this one
 * is stricter than any: within that time it knows no new key, whoever brings a token by one.
 */
export class PublishedKeys {
  readonly #seconds: number;
  #read: { readonly at: number; readonly published: Promise<Published> } | undefined;

  constructor(seconds: number) {
    this.#seconds = seconds;
  }

  of(issuer: string, now: number): Promise<Published> {
    if (this.#read === undefined || now >= this.#read.at + this.#seconds * 1000) {
      const published = publishedKeys(issuer);
      // A failure is not kept.
      published.catch(() => {
        this.#read = undefined;
      });
      this.#read = { at: now, published };
    }
    return this.#read.published;
  }
}

async function publishedKeys(issuer: string): Promise<Published> {
  const discovery = discoverySchema.safeParse(await fetchJson(`${issuer}/.well-known/openid-configuration`));
  if (discovery.data?.issuer !== issuer) throw invalid("The discovery document is not the issuer's");
  const jwks = jwksSchema.safeParse(await fetchJson(discovery.data.jwks_uri));
  const keys = jwks.data?.keys ?? [];
  const tooMany = ["RSA", "EC"].some((kty) => keys.filter((key) => key["kty"] === kty).length > MAX_KEYS_OF_A_TYPE);
  if (tooMany) throw invalid(NO_KEY);
  return { discovery: discovery.data, keys };
}

async function fetchJson(url: string): Promise<unknown> {
  try {
    const response = await fetch(url, { redirect: "error", signal: AbortSignal.timeout(5_000) });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return await response.json();
  } catch (error) {
    throw new StsFault("IDPCommunicationError", 400, "Identity provider could not be reached", { cause: error });
  }
}

function selectKey(keys: readonly PublishedKey[], kid: unknown): PublishedKey {
  const key = typeof kid === "string" ? keys.find((candidate) => candidate["kid"] === kid) : undefined;
  if (key === undefined || "key_ops" in key || key["use"] === "enc" || !certificateFits(key)) throw invalid(NO_KEY);
  return key;
}

/** Where `x5c` is there, it must be over the key that stands beside it. */
function certificateFits(key: PublishedKey): boolean {
  if (!("x5c" in key)) return true;
  try {
    const [first] = z.array(z.string()).min(1).parse(key["x5c"]);
    const certified = new X509Certificate(Buffer.from(first ?? "", "base64")).publicKey.export({ format: "jwk" });
    return (["kty", "n", "e", "crv", "x", "y"] as const).every((name) => certified[name] === key[name]);
  } catch {
    return false;
  }
}

async function requireSignature(token: string, alg: string, key: PublishedKey): Promise<void> {
  try {
    await compactVerify(token, await importJWK(key as JWK, alg), { algorithms: [alg] });
  } catch {
    throw invalid(NO_KEY);
  }
}

const rolesClaim = z.union([z.string().transform((role) => [role]), z.array(z.string())]);

function readClaims(claims: Json, audiences: readonly string[], now: number): WebIdentity {
  for (const name of ["iss", "sub", "aud", "iat", "exp"]) {
    if (claims[name] === undefined) throw invalid(`Missing a required claim: ${name}`);
  }
  requireFresh(claims, now / 1000);
  const tags = optionalClaim(claims, "https://aws.amazon.com/tags", sessionTags);
  return {
    tokenId: optionalClaim(claims, "jti", z.string()),
    subject: readClaim(claims, "sub", z.string().min(1)),
    audience: audienceOf(claims, audiences),
    tags: tagsOf(tags),
    transitiveTagKeys: tags?.transitive_tag_keys ?? [],
    sourceIdentity: optionalClaim(claims, "https://aws.amazon.com/source_identity", sourceIdentity),
    roles: optionalClaim(claims, "https://aws.amazon.com/roles", rolesClaim),
  };
}

function requireFresh(claims: Json, now: number): void {
  const wholeNumber = z.int();
  const exp = readClaim(claims, "exp", wholeNumber);
  const notBefore = Math.max(readClaim(claims, "iat", wholeNumber), optionalClaim(claims, "nbf", wholeNumber) ?? 0);
  if (exp + SKEW < now) throw new StsFault("ExpiredTokenException", 400, "Token expired");
  if (notBefore - SKEW > now) throw invalid("Token is not valid yet");
}

/** `azp`, where present, takes the place of `aud`; without it there must be one audience. */
function audienceOf(claims: Json, audiences: readonly string[]): string {
  const aud: unknown = Array.isArray(claims["aud"]) && claims["aud"].length === 1 ? claims["aud"][0] : claims["aud"];
  const named = claims["azp"] ?? aud;
  if (typeof named !== "string" || !audiences.includes(named)) throw invalid("Incorrect token audience");
  return named;
}

function readClaim<T>(claims: Json, name: string, schema: z.ZodType<T>): T {
  const result = schema.safeParse(claims[name]);
  if (!result.success) throw invalid(`The claim ${name} is malformed`);
  return result.data;
}

function optionalClaim<T>(claims: Json, name: string, schema: z.ZodType<T>): T | undefined {
  return claims[name] === undefined ? undefined : readClaim(claims, name, schema);
}

function invalid(message: string): StsFault {
  return new StsFault("InvalidIdentityToken", 400, message);
}
