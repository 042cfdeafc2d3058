import { createPublicKey, verify, X509Certificate, type KeyObject } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { federationSigner } from "../../src/aws/federation-token.ts";
import { issuerDocuments } from "../../src/aws/issuer-documents.ts";
import { Kms } from "../../src/aws/kms.ts";
import type { Signer } from "../../src/aws/signer.ts";
import { Refusal } from "../../src/flow/errors.ts";
import { newRemoteFederationKey } from "../../src/keys/new-keys.ts";
import { startKms, type KmsFault, type SandboxKms } from "../../src/sandbox/kms.ts";
import { AUDIENCE, janesClaims } from "../support/federation.ts";

let there: SandboxKms;
let kms: Kms;

beforeAll(async () => {
  there = await startKms();
  kms = new Kms({ endpoint: there.url, credentials: there.credentials });
});
afterAll(async () => {
  kms.close();
  await there.close();
});

const DATA = Buffer.from("what is signed");

/** The signer of a fresh key over there, as keys.json would name it. */
async function signerOf(spec: "ECC_NIST_P256" | "RSA_2048", client = kms) {
  const arn = there.makeKey(spec);
  const key = await kms.describe(arn);
  const { algorithm } = key;
  const publicKey = createPublicKey({ key: Buffer.from(key.publicKey), format: "der", type: "spki" });
  const draft = client.signer(arn, { kid: "kid-of-the-test", algorithm, publicKey, certificate: "" });
  return { arn, key, publicKey, draft, client };
}

/** The refusal's message; the code is always the same. */
async function refusalOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(Refusal);
  expect((error as Refusal).code).toBe("signing_unavailable");
  return (error as Refusal).message;
}

function holds(signer: Signer, publicKey: KeyObject, signature: Uint8Array): boolean {
  const dsaEncoding = "ieee-p1363";
  expect(signature).toHaveLength(signer.algorithm === "ES256" ? 64 : 256);
  return verify("sha256", DATA, { key: publicKey, dsaEncoding }, signature);
}

describe.each([
  ["ECC_NIST_P256", "ES256"],
  ["RSA_2048", "RS256"],
] as const)("a key of %s", (spec, algorithm) => {
  test("signs as a JWS wants it, each time", async () => {
    const { draft, publicKey } = await signerOf(spec);
    expect(draft.algorithm).toBe(algorithm);
    // R and S of ECDSA are shorter than 32 bytes now and then.
    const signatures = await Promise.all(Array.from({ length: 40 }, () => draft.sign(DATA)));
    expect(signatures.every((signature) => holds(draft, publicKey, signature))).toBe(true);
  });

  test("certifies itself, and its tokens hold against the published documents", async () => {
    const { arn, key, publicKey, draft } = await signerOf(spec);
    const now = new Date();
    const stored = await newRemoteFederationKey(
      { ...key, sign: (data) => draft.sign(data) },
      { createdAt: now, activeFrom: now },
    );
    const certificate = new X509Certificate(Buffer.from(stored.certificate, "base64"));
    expect(certificate.verify(publicKey)).toBe(true);
    expect(stored).toMatchObject({ algorithm, kms: arn });
    expect(stored.privateKey).toBeUndefined();

    const signer = kms.signer(arn, { ...stored, publicKey });
    const documents = issuerDocuments("https://rolecall.acme.example/federation", [signer]);
    const token = await federationSigner({ signer, documents, audience: AUDIENCE })(
      janesClaims(documents.discovery.issuer),
    );
    expect(token.keyId).toBe(stored.kid);
  });

  const faults: [string, KmsFault[], RegExp][] = [
    ["signs something else", [{ kind: "another signature" }], /not a signature by the key/],
    ["signs with another key", [{ kind: "another key" }], /not a signature by the key/],
    ["answers with no signature", [{ kind: "body", body: "{}" }], /not a signature by the key/],
    ["answers with garbage", [{ kind: "body", body: '{"Signature":"MEUC"}' }], /not a signature by the key/],
    ["answers with no JSON", [{ kind: "body", body: "<html>" }], /no answer that can be read/],
    ["denies access", [{ kind: "error", code: "AccessDeniedException", status: 400 }], /AccessDeniedException/],
    ["is about to delete the key", [{ kind: "error", code: "KMSInvalidStateException", status: 400 }], /InvalidState/],
    [
      "throttles",
      Array(3).fill({ kind: "error", code: "ThrottlingException", status: 400 }) as KmsFault[],
      /Throttling/,
    ],
    ["fails", Array(3).fill({ kind: "error", code: "KMSInternalException", status: 500 }) as KmsFault[], /Internal/],
    ["closes the connection", Array(3).fill({ kind: "reset" }) as KmsFault[], /no answer that can be read/],
  ];

  test.each(faults)("refuses where KMS %s, and goes on when it is over", async (_name, script, message) => {
    const { draft, publicKey } = await signerOf(spec);
    there.fail(...script);
    expect(await refusalOf(draft.sign(DATA))).toMatch(message);
    expect(holds(draft, publicKey, await draft.sign(DATA))).toBe(true);
  });

  test("that is disabled is refused until it is enabled", async () => {
    const { arn, draft, publicKey } = await signerOf(spec);
    there.setEnabled(arn, false);
    expect(await refusalOf(draft.sign(DATA))).toMatch(/DisabledException/);
    there.setEnabled(arn, true);
    expect(holds(draft, publicKey, await draft.sign(DATA))).toBe(true);
  });

  test("is asked again where a fault may be over", async () => {
    const { draft, publicKey } = await signerOf(spec);
    there.fail({ kind: "error", code: "KMSInternalException", status: 500 }, { kind: "reset" });
    expect(holds(draft, publicKey, await draft.sign(DATA))).toBe(true);
  });
});

test("a KMS that hangs is given up on", async () => {
  const impatient = new Kms({
    endpoint: there.url,
    credentials: there.credentials,
    limits: { attempt: 10_000, call: 50 },
  });
  const { draft } = await signerOf("ECC_NIST_P256", impatient);
  there.fail({ kind: "hang" });
  expect(await refusalOf(draft.sign(DATA))).toBe("no answer from KMS within 50 ms");
  impatient.close();
});

test("a caller whose secret is wrong is refused by KMS, and its secret is nowhere in the message", async () => {
  const credentials = { ...there.credentials, secretAccessKey: "another-secret" };
  const stranger = new Kms({ endpoint: there.url, credentials });
  const { draft } = await signerOf("ECC_NIST_P256", stranger);
  const message = await refusalOf(draft.sign(DATA));
  expect(message).toMatch(/InvalidSignatureException/);
  expect(message).not.toContain("another-secret");
  stranger.close();
});

describe("a key that can't sign federation tokens is told why", () => {
  test.each([
    ["ECC_NIST_P384", "SIGN_VERIFY", /its spec is ECC_NIST_P384/],
    ["ECC_SECG_P256K1", "SIGN_VERIFY", /its spec is ECC_SECG_P256K1/],
    ["ECC_NIST_P256", "KEY_AGREEMENT", /its usage is KEY_AGREEMENT/],
    ["RSA_2048", "ENCRYPT_DECRYPT", /its usage is ENCRYPT_DECRYPT/],
  ] as const)("%s for %s", async (spec, usage, message) => {
    expect(await refusalOf(kms.describe(there.makeKey(spec, usage)))).toMatch(message);
  });

  test("one that is not there", async () => {
    const arn = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000";
    expect(await refusalOf(kms.describe(arn))).toMatch(/NotFoundException/);
  });

  test("an answer for another key, or whose spec and public half disagree", async () => {
    const [one, other] = [there.makeKey("ECC_NIST_P256"), there.makeKey("RSA_2048")];
    const answer = {
      KeyId: one,
      KeySpec: "ECC_NIST_P256",
      KeyUsage: "SIGN_VERIFY",
      SigningAlgorithms: ["ECDSA_SHA_256"],
    };
    const rsa = Buffer.from((await kms.describe(other)).publicKey).toString("base64");
    there.fail({ kind: "body", body: JSON.stringify({ ...answer, PublicKey: rsa }) });
    expect(await refusalOf(kms.describe(one))).toMatch(/another kind than its spec/);
    there.fail({ kind: "body", body: JSON.stringify({ ...answer, PublicKey: rsa }) });
    expect(await refusalOf(kms.describe(other))).toMatch(/answered for another one/);
  });
});
