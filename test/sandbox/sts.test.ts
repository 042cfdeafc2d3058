import { createPrivateKey, generateKeyPairSync, sign } from "node:crypto";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { SignJWT, type JWK } from "jose";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { federationSigner } from "../../src/aws/federation-token.ts";
import { issuerDocuments } from "../../src/aws/issuer-documents.ts";
import type { Signer } from "../../src/aws/signer.ts";
import { stsClient } from "../../src/aws/sts.ts";
import { template } from "../../src/operator/template.ts";
import { lenient, startSts, type SandboxSts } from "../../src/sandbox/sts.ts";
import {
  AUDIENCE,
  JANE,
  ROLE_ARN,
  acmeConfig,
  janesClaims,
  newSigner,
  signAnything,
  startIssuer,
  type TestIssuer,
} from "../support/federation.ts";
import { recordingLog } from "../support/log.ts";

const ARN = `arn:aws:sts::111122223333:assumed-role/BedrockShared/${JANE}`;
const TAGS_CLAIM = "https://aws.amazon.com/tags";
const SOURCE_CLAIM = "https://aws.amazon.com/source_identity";
const ROLES_CLAIM = "https://aws.amazon.com/roles";

let es256: Signer;
let rs256: Signer;
let issuer: TestIssuer;
let sts: SandboxSts;

beforeAll(async () => {
  [es256, rs256] = await Promise.all([newSigner("ES256"), newSigner("RS256")]);
});
beforeEach(async () => {
  // An issuer of its own for each test, since tests change what it publishes.
  issuer = await startIssuer([es256, rs256]);
  sts = await startSts({ trust: template("aws/role", acmeConfig(issuer.baseUrl)) });
});
afterEach(async () => {
  await sts.close();
  await issuer.close();
});

/** As anybody could call it: the form as it is, the answer as it comes. */
async function call(
  token: string,
  parameters: Record<string, string> = {},
): Promise<{ status: number; code: string | undefined; body: string }> {
  const response = await fetch(sts.url, {
    method: "POST",
    body: new URLSearchParams({
      Action: "AssumeRoleWithWebIdentity",
      Version: "2011-06-15",
      RoleArn: ROLE_ARN,
      RoleSessionName: JANE,
      WebIdentityToken: token,
      ...parameters,
    }),
  });
  const body = await response.text();
  return { status: response.status, code: /<Code>(.*)<\/Code>/.exec(body)?.[1], body };
}

describe("what the broker signs, STS takes", () => {
  test.each(["ES256", "RS256"] as const)("%s, from signing to the caller's identity", async (algorithm) => {
    const signer = algorithm === "ES256" ? es256 : rs256;
    const documents = issuerDocuments(issuer.issuer, [es256, rs256]);
    const { text: token } = await federationSigner({ signer, documents, audience: AUDIENCE })(
      janesClaims(issuer.issuer),
    );
    const { assumeRole, close } = stsClient({ region: "us-east-1", endpoint: sts.url, log: recordingLog() });
    const session = await assumeRole({
      roleArn: ROLE_ARN,
      sessionName: JANE,
      token,
      durationSeconds: 1800,
    });
    close();

    expect(session).toMatchObject({ sessionArn: ARN, sourceIdentity: JANE, packedPolicySize: 25 });
    expect(session.requestId).toMatch(/^[0-9a-f-]{36}$/);
    const left = session.credentials.expiration.getTime() - Date.now();
    expect(left).toBeGreaterThan(1_700_000);
    expect(left).toBeLessThanOrEqual(1_800_000);

    const client = new STSClient({ region: "eu-west-1", endpoint: sts.url, credentials: session.credentials });
    const identity = await client.send(new GetCallerIdentityCommand());
    client.destroy();
    expect(identity).toMatchObject({ Arn: ARN, Account: "111122223333" });
    expect(identity.UserId).toMatch(/^AROA[0-9A-F]{17}:jane@acme\.example$/);
  });

  test("also without optional tags, and with a tag that is transitive", async () => {
    const claims = { ...janesClaims(issuer.issuer), [TAGS_CLAIM]: { principal_tags: { team: ["search"] } } };
    expect((await call(await signAnything(es256, claims))).status).toBe(200);
    const transitive = { principal_tags: { team: ["search"] }, transitive_tag_keys: ["team"] };
    const token = await signAnything(es256, { ...claims, [TAGS_CLAIM]: transitive });
    expect((await call(token)).status).toBe(200);
  });

  test("the answer has AWS's shape", async () => {
    const { body } = await call(await signAnything(es256, janesClaims(issuer.issuer)));
    expect(body).toContain('<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">');
    expect(body).toContain(`<Provider>arn:aws:iam::111122223333:oidc-provider/${issuer.issuer.slice(7)}</Provider>`);
    expect(body).toContain(`<SubjectFromWebIdentityToken>${JANE}</SubjectFromWebIdentityToken>`);
    expect(body).toContain("<Audience>sts.amazonaws.com</Audience>");
  });

  test("the list of what it takes too lightly is there to be printed", () => {
    expect(lenient.length).toBeGreaterThan(2);
  });
});

type Claims = Record<string, unknown>;

describe("a token that is good but for one claim", () => {
  const seconds = (offset: number): number => Math.floor(Date.now() / 1000) + offset;
  const tags = (principal: unknown, more: object = {}): Claims => ({
    [TAGS_CLAIM]: { principal_tags: principal, transitive_tag_keys: [], ...more },
  });
  const many = (count: number): Claims =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, ["v"]]));

  // undefined takes the claim away.
  const rows: [string, () => Claims, string, RegExp][] = [
    ["another audience", () => ({ aud: "other" }), "InvalidIdentityToken", /Incorrect token audience/],
    ["an azp that is no audience", () => ({ azp: "rolecall" }), "InvalidIdentityToken", /Incorrect token audience/],
    ["two audiences", () => ({ aud: [AUDIENCE, "other"] }), "InvalidIdentityToken", /Incorrect token audience/],
    ["no sub", () => ({ sub: undefined }), "InvalidIdentityToken", /Missing a required claim: sub/],
    ["no aud", () => ({ aud: undefined }), "InvalidIdentityToken", /Missing a required claim: aud/],
    ["no iat", () => ({ iat: undefined }), "InvalidIdentityToken", /Missing a required claim: iat/],
    ["no exp", () => ({ exp: undefined }), "InvalidIdentityToken", /Missing a required claim: exp/],
    ["no iss", () => ({ iss: undefined }), "InvalidIdentityToken", /No OpenIDConnect provider/],
    ["another issuer", () => ({ iss: "https://evil.example" }), "InvalidIdentityToken", /No OpenIDConnect provider/],
    ["a slash after the issuer", () => ({ iss: `${issuer.issuer}/` }), "InvalidIdentityToken", /No OpenIDConnect/],
    ["expired 301 s ago", () => ({ exp: seconds(-301) }), "ExpiredTokenException", /expired/],
    ["from 302 s ahead", () => ({ iat: seconds(302), exp: seconds(600) }), "InvalidIdentityToken", /not valid yet/],
    ["an nbf 302 s ahead", () => ({ nbf: seconds(302) }), "InvalidIdentityToken", /not valid yet/],
    ["a fraction in exp", () => ({ exp: seconds(100) + 0.5 }), "InvalidIdentityToken", /exp is malformed/],
    ["a text in iat", () => ({ iat: String(seconds(0)) }), "InvalidIdentityToken", /iat is malformed/],
    ["a tag as plain text", () => tags({ team: "search" }), "InvalidIdentityToken", /tags is malformed/],
    ["a tag with two values", () => tags({ team: ["search", "x"] }), "InvalidIdentityToken", /tags is malformed/],
    ["a comma in a tag", () => tags({ team: ["a,b"] }), "InvalidIdentityToken", /tags is malformed/],
    ["a tag value of 257", () => tags({ team: ["x".repeat(257)] }), "InvalidIdentityToken", /tags is malformed/],
    ["a tag key of 129", () => tags({ ["x".repeat(129)]: ["y"] }), "InvalidIdentityToken", /tags is malformed/],
    ["a tag key of AWS's", () => tags({ "aws:team": ["x"] }), "InvalidIdentityToken", /tags is malformed/],
    ["a tag value of AWS's", () => tags({ team: ["AWS:x"] }), "InvalidIdentityToken", /tags is malformed/],
    ["51 tags", () => tags(many(51)), "InvalidIdentityToken", /tags is malformed/],
    ["keys that differ in case", () => tags({ team: ["a"], Team: ["a"] }), "InvalidIdentityToken", /tags is malformed/],
    [
      "a transitive key without a tag",
      () => tags({}, { transitive_tag_keys: ["x"] }),
      "InvalidIdentityToken",
      /tags is/,
    ],
    [
      "a source identity of one",
      () => ({ [SOURCE_CLAIM]: "j" }),
      "InvalidIdentityToken",
      /source_identity is malformed/,
    ],
    ["a source identity with a space", () => ({ [SOURCE_CLAIM]: "a b" }), "InvalidIdentityToken", /source_identity is/],
    ["another role", () => ({ [ROLES_CLAIM]: [`${ROLE_ARN}2`] }), "InvalidIdentityToken", /not among those/],
    // The rest is whole and true for AWS; the shipped trust policy refuses it.
    ["no roles claim", () => ({ [ROLES_CLAIM]: undefined }), "AccessDenied", /Not authorized/],
    ["another source identity", () => ({ [SOURCE_CLAIM]: "eve@acme.example" }), "AccessDenied", /Not authorized/],
    ["no source identity", () => ({ [SOURCE_CLAIM]: undefined }), "AccessDenied", /Not authorized/],
    ["no tags", () => ({ [TAGS_CLAIM]: undefined }), "AccessDenied", /Not authorized/],
    ["no required tag", () => tags({ "cost-centre": ["cc-1042"] }), "AccessDenied", /Not authorized/],
    ["a tag key too many", () => tags({ team: ["search"], admin: ["yes"] }), "AccessDenied", /Not authorized/],
    ["a tag value off the list", () => tags({ team: ["sales"] }), "AccessDenied", /Not authorized/],
    [
      "an optional tag's value off the list",
      () => tags({ team: ["search"], "cost-centre": ["x"] }),
      "AccessDenied",
      /Not/,
    ],
  ];

  test.each(rows)("%s", async (_name, change, code, message) => {
    const good = janesClaims(issuer.issuer);
    expect((await call(await signAnything(es256, good))).status).toBe(200);
    const answer = await call(await signAnything(es256, { ...good, ...change() }));
    expect(answer.code).toBe(code);
    expect(answer.status).toBe(code === "AccessDenied" ? 403 : 400);
    expect(answer.body).toMatch(message);
  });

  test.each([
    ["expired 295 s ago", { exp: -295 }],
    ["from 295 s ahead", { iat: 295, exp: 600 }],
  ])("%s is within the skew", async (_name, offsets) => {
    const times = Object.fromEntries(Object.entries(offsets).map(([name, offset]) => [name, seconds(offset)]));
    expect((await call(await signAnything(es256, { ...janesClaims(issuer.issuer), ...times }))).status).toBe(200);
  });

  test("a session under another name than the token's subject", async () => {
    const token = await signAnything(es256, janesClaims(issuer.issuer));
    expect((await call(token, { RoleSessionName: "eve@acme.example" })).code).toBe("AccessDenied");
    expect((await call(token, { RoleSessionName: "JANE@acme.example" })).code).toBe("AccessDenied");
  });

  test("tags of more than AWS packs", async () => {
    await sts.close();
    const open = Object.fromEntries(["a", "b"].map((key) => [key, { from: [{ claim: key }] }]));
    const text = template("aws/role", { ...acmeConfig(issuer.baseUrl), tags: open });
    sts = await startSts({ trust: text });
    const principal = (length: number): Claims => tags({ a: ["x".repeat(length)], b: ["y".repeat(length)] });
    const good = { ...janesClaims(issuer.issuer), ...principal(220) };
    expect((await call(await signAnything(es256, good))).status).toBe(200);
    const answer = await call(await signAnything(es256, { ...good, ...principal(222) }));
    expect(answer).toMatchObject({ status: 400, code: "PackedPolicyTooLarge" });
  });
});

describe("a token that is good but for its signature", () => {
  const parts = async (): Promise<string[]> => (await signAnything(es256, janesClaims(issuer.issuer))).split(".");
  const base64url = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

  const rows: [string, () => Promise<string>][] = [
    [
      "another claim under it",
      async () => {
        const [header, , signature] = await parts();
        return [header, base64url({ ...janesClaims(issuer.issuer), sub: "eve@acme.example" }), signature].join(".");
      },
    ],
    ["alg none", async () => [base64url({ alg: "none" }), (await parts())[1], ""].join(".")],
    [
      "alg none with a kid",
      async () => [base64url({ alg: "none", kid: es256.keyId }), (await parts())[1], ""].join("."),
    ],
    ["an unknown kid", () => signAnything(es256, janesClaims(issuer.issuer), { kid: "other" })],
    ["no kid", () => signAnything(es256, janesClaims(issuer.issuer), { kid: undefined })],
    ["the other key's kid", () => signAnything(es256, janesClaims(issuer.issuer), { kid: rs256.keyId })],
    ["an algorithm that is not the key's", () => signAnything(es256, janesClaims(issuer.issuer), { alg: "ES384" })],
    ["no signature", async () => (await parts()).slice(0, 2).join(".")],
    ["no JWT at all", () => Promise.resolve("not a token")],
  ];
  test.each(rows)("%s", async (_name, forge) => {
    expect(await call(await forge())).toMatchObject({ status: 400, code: "InvalidIdentityToken" });
  });

  test("PS256 and EdDSA, though the keys are published and the signatures right", async () => {
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const ed = generateKeyPairSync("ed25519");
    for (const [alg, pair] of [
      ["PS256", rsa],
      ["EdDSA", ed],
    ] as const) {
      const key = { ...pair.publicKey.export({ format: "jwk" }), kid: alg, use: "sig", alg };
      issuer.documents["/federation/jwks"] = { keys: [key] };
      issuer.documents["/federation/.well-known/openid-configuration"] = {
        ...issuerDocuments(issuer.issuer, [es256]).discovery,
        id_token_signing_alg_values_supported: [alg],
      };
      const token = await new SignJWT({ ...janesClaims(issuer.issuer) })
        .setProtectedHeader({ alg, kid: alg })
        .sign(createPrivateKey(pair.privateKey.export({ type: "pkcs8", format: "pem" })));
      const answer = await call(token);
      expect(answer).toMatchObject({ status: 400, code: "InvalidIdentityToken" });
      expect(answer.body).toContain("algorithm is not supported");
    }
  });

  test("HS256 over the public key", async () => {
    const input = `${base64url({ alg: "HS256", kid: es256.keyId })}.${base64url(janesClaims(issuer.issuer))}`;
    const { createHmac } = await import("node:crypto");
    const mac = createHmac("sha256", JSON.stringify(es256.publicJwk)).update(input).digest("base64url");
    expect(await call(`${input}.${mac}`)).toMatchObject({ code: "InvalidIdentityToken" });
  });

  test("ES256 in DER, as OpenSSL writes it", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const input = `${base64url({ alg: "ES256", kid: es256.keyId })}.${base64url(janesClaims(issuer.issuer))}`;
    const der = sign("sha256", Buffer.from(input), privateKey).toString("base64url");
    expect(await call(`${input}.${der}`)).toMatchObject({ code: "InvalidIdentityToken" });
  });
});

describe("documents that are good but for one thing", () => {
  type Spoil = (keys: JWK[]) => JWK[];
  const change =
    (fields: object): Spoil =>
    ([first, ...rest]) => [{ ...first, ...fields }, ...rest];
  const rows: [string, Spoil][] = [
    ["key_ops", change({ key_ops: ["verify"] })],
    ["use enc", change({ use: "enc" })],
    ["no kid", change({ kid: undefined })],
    ["a certificate over another key", ([first, second]) => [{ ...first, x5c: second?.x5c ?? [] }]],
    ["a certificate that is none", change({ x5c: ["AAAA"] })],
    ["the certificate alone", ([first]) => [{ kty: "EC", kid: first?.kid ?? "", x5c: first?.x5c ?? [] }]],
    ["no keys", () => []],
    [
      "101 EC keys",
      ([first]) =>
        Array.from({ length: 101 }, (_, index) => ({ ...first, kid: index === 0 ? (first?.kid ?? "") : `k${index}` })),
    ],
  ];
  test.each(rows)("%s", async (_name, spoil) => {
    const token = await signAnything(es256, janesClaims(issuer.issuer));
    expect((await call(token)).status).toBe(200);
    const { keys } = issuer.documents["/federation/jwks"] as { keys: JWK[] };
    issuer.documents["/federation/jwks"] = { keys: spoil(keys) };
    const answer = await call(token);
    expect(answer).toMatchObject({ status: 400, code: "InvalidIdentityToken" });
    expect(answer.body).toContain("retrieve verification key");
  });

  test("a key without a certificate is taken", async () => {
    const { keys } = issuer.documents["/federation/jwks"] as { keys: JWK[] };
    issuer.documents["/federation/jwks"] = { keys: keys.map((key) => ({ ...key, x5c: undefined })) };
    expect((await call(await signAnything(es256, janesClaims(issuer.issuer)))).status).toBe(200);
  });

  test("a discovery document of another issuer", async () => {
    const discovery = issuerDocuments(`${issuer.issuer}/`, [es256]).discovery;
    issuer.documents["/federation/.well-known/openid-configuration"] = {
      ...discovery,
      jwks_uri: `${issuer.issuer}/jwks`,
    };
    expect(await call(await signAnything(es256, janesClaims(issuer.issuer)))).toMatchObject({
      code: "InvalidIdentityToken",
    });
  });

  test.each(["/federation/.well-known/openid-configuration", "/federation/jwks"])("no %s", async (path) => {
    issuer.documents[path] = undefined;
    const answer = await call(await signAnything(es256, janesClaims(issuer.issuer)));
    expect(answer).toMatchObject({ status: 400, code: "IDPCommunicationError" });
  });
});

describe("parameters", () => {
  const rows: [string, Record<string, string>, string][] = [
    ["899 seconds", { DurationSeconds: "899" }, "ValidationError"],
    ["no number of seconds", { DurationSeconds: "1h" }, "ValidationError"],
    ["more seconds than the role's maximum", { DurationSeconds: "3601" }, "ValidationError"],
    ["43201 seconds", { DurationSeconds: "43201" }, "ValidationError"],
    ["a session name of one", { RoleSessionName: "j" }, "ValidationError"],
    ["a session name with a space", { RoleSessionName: "a b" }, "ValidationError"],
    ["a session name that is not ASCII", { RoleSessionName: "jané" }, "ValidationError"],
    ["a short ARN", { RoleArn: "arn:aws:iam::1:x" }, "ValidationError"],
    ["a session policy", { Policy: "{}" }, "ValidationError"],
    ["a token that is too long", { WebIdentityToken: "x".repeat(20_001) }, "ValidationError"],
    ["another action", { Action: "AssumeRole" }, "InvalidAction"],
  ];
  test.each(rows)("%s", async (_name, parameters, code) => {
    const answer = await call(await signAnything(es256, janesClaims(issuer.issuer)), parameters);
    expect(answer).toMatchObject({ status: 400, code });
  });

  test("a role that the token names and nobody made", async () => {
    const roleArn = "arn:aws:iam::111122223333:role/Nobody";
    const token = await signAnything(es256, { ...janesClaims(issuer.issuer), [ROLES_CLAIM]: roleArn });
    expect(await call(token, { RoleArn: roleArn })).toMatchObject({ status: 403, code: "AccessDenied" });
  });
});
