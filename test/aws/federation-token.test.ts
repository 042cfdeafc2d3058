import { createHash, verify, X509Certificate } from "node:crypto";
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify, type JSONWebKeySet } from "jose";
import { describe, expect, test } from "vitest";
import { federationSigner } from "../../src/aws/federation-token.ts";
import { issuerDocuments, type IssuerDocuments } from "../../src/aws/issuer-documents.ts";
import type { Signer } from "../../src/aws/signer.ts";
import { Refusal } from "../../src/flow/errors.ts";
import type { FederationClaims } from "../../src/flow/federation-token.ts";
import { AUDIENCE, JANE, ROLE_ARN, janesClaims, newSigner } from "../support/federation.ts";

type Sign = ReturnType<typeof federationSigner>;

const ISSUER = "https://rolecall.acme.example/federation";
const [es256, rs256] = await Promise.all([newSigner("ES256"), newSigner("RS256")]);
const documents = issuerDocuments(ISSUER, [es256, rs256]);

const signWith = (signer: Signer, published: IssuerDocuments = documents): Sign =>
  federationSigner({ signer, documents: published, audience: AUDIENCE });

async function faultOf(sign: Sign, claims: object): Promise<string> {
  const error: unknown = await sign(claims as FederationClaims).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(Refusal);
  const refusal = error as Refusal;
  expect(refusal.code).toBe("federation_token_invalid");
  expect(refusal.message).not.toMatch(/eyJ|jane|search/);
  return refusal.message;
}

describe("a federation token", () => {
  test.each([
    ["ES256", es256],
    ["RS256", rs256],
  ] as const)("%s: verifies against what is published, and is named by its hash", async (alg, signer) => {
    const signed = await signWith(signer)(janesClaims(ISSUER));
    expect(decodeProtectedHeader(signed.text)).toEqual({ alg, kid: signer.keyId, typ: "JWT" });
    expect(decodeJwt(signed.text)).toEqual(janesClaims(ISSUER, (decodeJwt(signed.text).iat ?? 0) * 1000));
    expect(signed.keyId).toBe(signer.keyId);
    expect(signed.sha256).toBe(createHash("sha256").update(signed.text).digest("hex"));
    const keys = createLocalJWKSet(JSON.parse(JSON.stringify(documents.jwks)) as JSONWebKeySet);
    expect((await jwtVerify(signed.text, keys, { issuer: ISSUER, audience: AUDIENCE })).payload.sub).toBe(JANE);
  });
});

describe("is checked before anybody sends it, and the fault is named", () => {
  const good = janesClaims(ISSUER);
  const seconds = (offset: number): number => Math.floor(Date.now() / 1000) + offset;
  const tags = (principal: unknown, more: object = {}): object => ({
    "https://aws.amazon.com/tags": { principal_tags: principal, transitive_tag_keys: [], ...more },
  });

  const rows: [string, object, RegExp][] = [
    ["another issuer", { iss: "https://evil.example" }, /"iss"/],
    ["another audience", { aud: "other" }, /"aud"/],
    ["two audiences", { aud: [AUDIENCE, "other"] }, /aud/],
    ["an azp", { azp: "rolecall" }, /azp/],
    ["no subject", { sub: undefined }, /"sub"/],
    ["no jti", { jti: undefined }, /"jti"/],
    ["no iat", { iat: undefined }, /"iat"/],
    ["expired", { exp: seconds(-1) }, /"exp"/],
    ["a fraction in iat", { iat: seconds(0) + 0.5 }, /iat/],
    ["a life of an hour", { exp: seconds(3600) }, /lives longer/],
    ["a subject with a space", { sub: "jane doe" }, /sub/],
    ["a subject that is not the source identity", { sub: "eve@acme.example" }, /source identity/],
    ["no source identity", { "https://aws.amazon.com/source_identity": undefined }, /source_identity/],
    ["no roles", { "https://aws.amazon.com/roles": [] }, /roles/],
    ["two roles", { "https://aws.amazon.com/roles": [ROLE_ARN, `${ROLE_ARN}2`] }, /roles/],
    ["a tag as plain text", tags({ team: "search" }), /tags principal_tags/],
    ["a tag with two values", tags({ team: ["search", "x"] }), /tags principal_tags/],
    ["a comma in a tag", tags({ team: ["search,x"] }), /tags principal_tags/],
    ["a tag key of AWS's", tags({ "aws:team": ["search"] }), /tags principal_tags/],
    ["a long tag", tags({ team: ["x".repeat(257)] }), /tags principal_tags/],
    ["51 tags", tags(Object.fromEntries(Array.from({ length: 51 }, (_, index) => [`k${index}`, ["v"]]))), /tags/],
    ["a transitive key without a tag", tags({ team: ["search"] }, { transitive_tag_keys: ["x"] }), /transitive/],
    ["too long", { jti: "x".repeat(20_000) }, /longer than 20000/],
  ];

  test.each(rows)("%s", async (_name, change, message) => {
    expect(await faultOf(signWith(es256), { ...good, ...change })).toMatch(message);
  });

  test("a key that is not published", async () => {
    const other = await newSigner("ES256");
    expect(await faultOf(signWith(other), good)).toContain("ERR_JWKS_NO_MATCHING_KEY");
  });

  test("another key under a published kid", async () => {
    const other = { ...(await newSigner("ES256")), keyId: es256.keyId };
    expect(await faultOf(signWith(other), good)).toContain("ERR_JWS_SIGNATURE_VERIFICATION_FAILED");
  });

  test("an algorithm that the discovery document leaves out", async () => {
    const narrow = {
      ...documents,
      discovery: { ...documents.discovery, id_token_signing_alg_values_supported: ["RS256"] },
    };
    expect(await faultOf(signWith(es256, narrow), good)).toContain("ERR_JOSE_ALG_NOT_ALLOWED");
  });

  test("a discovery document that names another issuer", async () => {
    const other = { ...documents, discovery: { ...documents.discovery, issuer: `${ISSUER}/` } };
    expect(await faultOf(signWith(es256, other), good)).toContain('"iss"');
  });
});

describe("what is published", () => {
  test("is the active key first, with everything that STS looks for and nothing private", () => {
    expect(documents.jwks.keys.map((key) => [key.kid, key.alg, key.use])).toEqual([
      [es256.keyId, "ES256", "sig"],
      [rs256.keyId, "RS256", "sig"],
    ]);
    for (const key of documents.jwks.keys) {
      expect(Object.keys(key).sort()).toEqual(
        (key.kty === "EC" ? ["crv", "x", "y"] : ["e", "n"]).concat("alg", "kid", "kty", "use", "x5c").sort(),
      );
    }
  });

  test("has certificates over the very keys", () => {
    for (const key of documents.jwks.keys) {
      const certificate = new X509Certificate(Buffer.from(key.x5c?.[0] ?? "", "base64"));
      expect(certificate.publicKey.export({ format: "jwk" })).toMatchObject(
        key.kty === "EC" ? { x: key.x, y: key.y } : { n: key.n, e: key.e },
      );
    }
  });

  test("says where the keys are and which algorithms there are", () => {
    expect(documents.discovery).toEqual({
      issuer: ISSUER,
      jwks_uri: `${ISSUER}/jwks`,
      id_token_signing_alg_values_supported: ["ES256", "RS256"],
      response_types_supported: ["id_token"],
      subject_types_supported: ["public"],
      claims_supported: ["iss", "sub", "aud", "iat", "exp", "jti"],
    });
  });
});

test("an ES256 signature is R and S, 64 bytes (RFC 7518 3.4)", async () => {
  const data = Buffer.from("data");
  const signature = await es256.sign(data);
  expect(signature).toHaveLength(64);
  const certificate = new X509Certificate(Buffer.from(es256.x5c[0] ?? "", "base64"));
  expect(verify("sha256", data, { key: certificate.publicKey, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
});
