import { afterAll, beforeEach, expect, test } from "vitest";
import { samlMetadata } from "../../src/aws/saml-metadata.ts";
import { stsClient } from "../../src/aws/sts.ts";
import { StsRefusal, type AssumeRole } from "../../src/flow/ports.ts";
import { JANE, ROLE_ARN } from "../support/federation.ts";
import { recordingLog } from "../support/log.ts";
import {
  newSamlSigningKey,
  SAML_AUDIENCE,
  SAML_ISSUER,
  SAML_PROVIDER,
  samlClaims,
  signSaml,
} from "../support/saml-federation.ts";
import { startSamlSts } from "../support/saml-sts.ts";

const key = await newSamlSigningKey();
const metadata = samlMetadata(SAML_ISSUER, [key.certificate]);
const sts = await startSamlSts(metadata);
const log = recordingLog();
const trust = { samlProviderArn: SAML_PROVIDER, issuer: SAML_ISSUER, audience: SAML_AUDIENCE };
const client = stsClient({ region: "us-east-1", endpoint: sts.url, saml: trust, log, backoff: 1 });

beforeEach(() => Object.assign(sts, { metadata, answer: {} }));
afterAll(async () => {
  client.close();
  await sts.close();
});

async function request(): Promise<Parameters<AssumeRole>[0]> {
  const { text: token } = await signSaml(key)(samlClaims(), 1800);
  return { roleArn: ROLE_ARN, sessionName: JANE, token, durationSeconds: 1800 };
}

async function refusal(): Promise<StsRefusal> {
  const error: unknown = await client.assumeRole(await request()).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StsRefusal);
  return error as StsRefusal;
}

test("a session, by a call without a signature of its own", async () => {
  const asked = await request();
  const session = await client.assumeRole(asked);
  expect(session).toMatchObject({
    sessionArn: `arn:aws:sts::111122223333:assumed-role/BedrockShared/${JANE}`,
    sourceIdentity: JANE,
    packedPolicySize: 25,
  });
  const [call] = sts.calls;
  expect(call?.form).toEqual({
    Action: "AssumeRoleWithSAML",
    Version: "2011-06-15",
    RoleArn: ROLE_ARN,
    PrincipalArn: SAML_PROVIDER,
    SAMLAssertion: asked.token,
    DurationSeconds: "1800",
  });
  expect(call?.headers).not.toHaveProperty("authorization");
});

test.each([
  ["issuer", { Issuer: "https://evil.example" }],
  ["subject", { Subject: "eve@acme.example" }],
  ["audience", { Audience: "https://evil.example/saml" }],
])("an answer for another %s is refused", async (_name, answer) => {
  sts.answer = answer;
  const refused = await refusal();
  expect(refused.code).toBe("sts_response_invalid");
  expect(refused.stsRequestId).toMatch(/^[0-9a-f-]{36}$/);
});

test("a key that was not uploaded is AWS's refusal, asked once", async () => {
  const before = sts.calls.length;
  sts.metadata = samlMetadata(SAML_ISSUER, [(await newSamlSigningKey()).certificate]);
  expect((await refusal()).code).toBe("sts_invalid_token");
  expect(sts.calls.length - before).toBe(1);
});

test("no assertion is in the log", async () => {
  const { token } = await request();
  expect(JSON.stringify(log.lines)).not.toContain(token.slice(0, 40));
});
