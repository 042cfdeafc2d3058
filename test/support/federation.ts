import { createPrivateKey, createPublicKey } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { newFederationKey } from "../../src/keys/new-keys.ts";
import { keySigner, type Signer } from "../../src/aws/signer.ts";
import { issuerDocuments } from "../../src/aws/issuer-documents.ts";
import type { Config } from "../../src/config/config.ts";
import { federationClaims, type FederationClaims } from "../../src/flow/federation-token.ts";
import { compileMapping, type TagRules } from "../../src/flow/tags.ts";

/** A federation issuer of its own, and all that STS needs to trust it. */

export const ROLE_ARN = "arn:aws:iam::111122223333:role/shared/BedrockShared";
export const AUDIENCE = "sts.amazonaws.com";
export const JANE = "jane@acme.example";
export const TAGS = { team: "search", "cost-centre": "cc-1042" };

const TAG_RULES: TagRules = {
  team: { required: true, from: [{ claim: "team" }], allowed: ["search", "ml-platform"] },
  "cost-centre": { from: [{ claim: "costCenter" }], allowed: ["cc-1042", "unallocated"], default: "unallocated" },
};

export async function newSigner(algorithm: "ES256" | "RS256"): Promise<Signer> {
  const now = new Date();
  const stored = await newFederationKey(algorithm, { createdAt: now, activeFrom: now });
  const privateKey = createPrivateKey(stored.privateKey);
  return keySigner({ ...stored, publicKey: createPublicKey(privateKey) }, privateKey);
}

/** A configuration of a broker at `baseUrl`, for a company with two tags. */
export function acmeConfig(baseUrl: string, change: { aws?: Partial<Config["aws"]>; tags?: TagRules } = {}): Config {
  const tags = change.tags ?? TAG_RULES;
  const compiled = compileMapping(tags);
  if (!("mapping" in compiled)) throw new Error(JSON.stringify(compiled.faults));
  return {
    environment: "development",
    baseUrl,
    listen: { host: "127.0.0.1", port: 0 },
    trustProxy: 0,
    stateDir: "/nowhere",
    aws: {
      region: "us-east-1",
      roleArn: ROLE_ARN,
      federation: "web-identity",
      samlProviderArn: undefined,
      audience: AUDIENCE,
      sessionDurationSeconds: 3600,
      signingAlgorithm: "ES256",
      transitiveTags: [],
      stsEndpoint: undefined,
      kmsEndpoint: undefined,
      models: ["us.anthropic.claude-sonnet-4-5-v1:0", "amazon.nova-*"],
      ...change.aws,
    },
    providers: [],
    signInMaxAgeSeconds: 43_200,
    tags,
    mapping: compiled.mapping,
    stopDelaySeconds: 0,
    rateLimits: { perAddress: 2000, perAccount: 600, signInsUnderWay: 100_000 },
    redisUrl: undefined,
    ledgerUrl: undefined,
    checkpointKey: undefined,
    access: { auditor: [], admin: [], finance: [] },
    source: { sha256: undefined, files: [] },
  };
}

export interface TestIssuer {
  readonly baseUrl: string;
  readonly issuer: string;
  /** What is served, by path below the issuer; a test may change it. */
  readonly documents: Record<string, unknown>;
  close(): Promise<void>;
}

/** A web server that publishes the federation issuer's documents for `signers`. */
export async function startIssuer(signers: readonly Signer[]): Promise<TestIssuer> {
  const documents: Record<string, unknown> = {};
  const server = createServer((request, response) => {
    const document = documents[request.url ?? ""];
    response.writeHead(document === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(document ?? {}));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const issuer = `${baseUrl}/federation`;
  const { discovery, jwks } = issuerDocuments(issuer, signers);
  documents["/federation/.well-known/openid-configuration"] = discovery;
  documents["/federation/jwks"] = jwks;
  return {
    baseUrl,
    issuer,
    documents,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

/** Claims that STS takes: Jane's, for {@link ROLE_ARN}. */
export function janesClaims(issuer: string, now = Date.now()): FederationClaims {
  return federationClaims({
    issuer,
    audience: AUDIENCE,
    sessionName: JANE,
    tags: TAGS,
    transitiveTags: [],
    roleArn: ROLE_ARN,
    tokenId: "b2b7c7c0-2f4f-4c33-9f3f-7a63f9d2c001",
    now,
  });
}

/** A JWS over any header and claims, signed by `signer`: tokens that the broker itself would never make. */
export async function signAnything(signer: Signer, claims: object, header: object = {}): Promise<string> {
  const full = { alg: signer.algorithm, kid: signer.keyId, typ: "JWT", ...header };
  const input = [full, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  const signature = await signer.sign(Buffer.from(input));
  return `${input}.${Buffer.from(signature).toString("base64url")}`;
}
