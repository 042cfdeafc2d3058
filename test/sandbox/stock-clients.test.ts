import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Sha256 } from "@aws-crypto/sha256-js";
import {
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
  type BedrockRuntimeServiceException,
} from "@aws-sdk/client-bedrock-runtime";
import { SignatureV4 } from "@smithy/signature-v4";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stsClient } from "../../src/aws/sts.ts";
import type { StsSession } from "../../src/flow/ports.ts";
import { template } from "../../src/operator/template.ts";
import { startSts, type SandboxSts } from "../../src/sandbox/sts.ts";
import {
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
const SENTENCE = `You are ${ARN}, billed with team=search, cost-centre=cc-1042.`;
const PYTHON = fileURLToPath(new URL("../../.cache/python/bin/python", import.meta.url));
const MODEL = "us.anthropic.claude-sonnet-4-5-v1:0";

let now = Date.now();
let issuer: TestIssuer;
let sts: SandboxSts;
let credentials: StsSession["credentials"];
let home: string;

beforeAll(async () => {
  const signer = await newSigner("ES256");
  issuer = await startIssuer([signer]);
  sts = await startSts({ trust: template("aws/role", acmeConfig(issuer.baseUrl)), now: () => now });
  const { assumeRole, close } = stsClient({ region: "us-east-1", endpoint: sts.url, log: recordingLog() });
  const token = await signAnything(signer, janesClaims(issuer.issuer));
  ({ credentials } = await assumeRole({
    roleArn: ROLE_ARN,
    sessionName: JANE,
    token,
    durationSeconds: 900,
  }));
  close();
  home = await mkdtemp(join(tmpdir(), "rolecall-clients-"));
});
afterAll(async () => {
  await rm(home, { recursive: true });
  await sts.close();
  await issuer.close();
});

describe("the AWS CLI and boto3, with a profile whose helper hands out the credentials", () => {
  let env: Record<string, string>;
  beforeAll(async () => {
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = credentials;
    await writeFile(
      join(home, "credentials.json"),
      JSON.stringify({
        Version: 1,
        AccessKeyId: accessKeyId,
        SecretAccessKey: secretAccessKey,
        SessionToken: sessionToken,
        Expiration: expiration.toISOString(),
      }),
    );
    await writeFile(
      join(home, "config"),
      `[profile demo]\nregion = us-east-1\ncredential_process = cat ${join(home, "credentials.json")}\nendpoint_url = ${sts.url}\n`,
    );
    env = {
      PATH: "/usr/bin:/bin",
      HOME: home,
      AWS_CONFIG_FILE: join(home, "config"),
      AWS_PROFILE: "demo",
      NO_PROXY: "*",
    };
  });

  test("aws sts get-caller-identity", async () => {
    const args = ["sts", "get-caller-identity", "--endpoint-url", sts.url, "--output", "json"];
    const { stdout } = await promisify(execFile)("/usr/bin/aws", args, { env });
    expect(JSON.parse(stdout)).toMatchObject({ Arn: ARN, Account: "111122223333" });
  });

  test("boto3: get_caller_identity, converse and converse_stream", async () => {
    const script = `
import boto3, json
messages = [{"role": "user", "content": [{"text": "Who am I?"}]}]
bedrock = boto3.client("bedrock-runtime")
answer = bedrock.converse(modelId="${MODEL}", messages=messages)
events = bedrock.converse_stream(modelId="amazon.nova-lite-v1:0", messages=messages)["stream"]
text = "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)
print(json.dumps([boto3.client("sts").get_caller_identity()["Arn"], answer["output"]["message"]["content"][0]["text"], text]))`;
    const { stdout } = await promisify(execFile)(PYTHON, ["-c", script], { env });
    expect(JSON.parse(stdout)).toEqual([ARN, SENTENCE, SENTENCE]);
  });
});

const messages = [{ role: "user" as const, content: [{ text: "Who am I?" }] }];

async function converse(modelId: string, change: Partial<StsSession["credentials"]> = {}): Promise<string> {
  const client = new BedrockRuntimeClient({
    region: "us-east-1",
    endpoint: sts.url,
    credentials: { ...credentials, ...change },
    maxAttempts: 1,
  });
  try {
    const { output } = await client.send(new ConverseCommand({ modelId, messages }));
    return output?.message?.content?.[0]?.text ?? "";
  } catch (error) {
    return (error as BedrockRuntimeServiceException).name;
  } finally {
    client.destroy();
  }
}

describe("the AWS SDK for JavaScript", () => {
  test("Converse says who is calling, and with which tags", async () => {
    expect(await converse(MODEL)).toBe(SENTENCE);
  });

  test("ConverseStream does so in events", async () => {
    const client = new BedrockRuntimeClient({ region: "us-east-1", endpoint: sts.url, credentials });
    const { stream } = await client.send(new ConverseStreamCommand({ modelId: MODEL, messages }));
    const texts: string[] = [];
    for await (const event of stream ?? []) texts.push(event.contentBlockDelta?.delta?.text ?? "");
    client.destroy();
    expect(texts.join("")).toBe(SENTENCE);
  });

  test.each([
    ["the profile that is listed", MODEL, SENTENCE],
    ["the model behind it", "anthropic.claude-sonnet-4-5-v1:0", SENTENCE],
    ["a model of a listed family", "amazon.nova-pro-v1:0", SENTENCE],
    ["a listed model by its ARN", "arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-pro-v1:0", SENTENCE],
    ["another model", "anthropic.claude-opus-4-v1:0", "AccessDeniedException"],
    ["another profile", "eu.anthropic.claude-sonnet-4-5-v1:0", "AccessDeniedException"],
    ["a profile of a family whose models only are listed", "us.amazon.nova-pro-v1:0", "AccessDeniedException"],
    [
      "another account's profile",
      `arn:aws:bedrock:us-east-1:999999999999:inference-profile/${MODEL}`,
      "AccessDeniedException",
    ],
  ])("%s: %s", async (_name, modelId, answer) => {
    expect(await converse(modelId)).toBe(answer);
  });

  test.each([
    ["another secret key", { secretAccessKey: "x".repeat(40) }, "InvalidSignatureException"],
    ["another session token", { sessionToken: "x".repeat(40) }, "UnrecognizedClientException"],
    ["an unknown access key", { accessKeyId: "ASIAAAAAAAAAAAAAAAAA" }, "UnrecognizedClientException"],
  ])("%s", async (_name, change, answer) => {
    expect(await converse(MODEL, change)).toBe(answer);
  });
});

interface Signed {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string;
}

/** Sends it as it stands, whatever host it names; fetch would not. */
function send({ method, path, headers, body }: Signed): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: "127.0.0.1", port: sts.port, method, path, headers }, (response) => {
      text(response).then(resolve, reject);
    });
    outgoing.on("error", reject).end(body);
  });
}

/** GetCallerIdentity, signed as a client does it, and then changed on its way. */
async function callerIdentity(
  tamper: (signed: Signed) => void = () => undefined,
  { service = "sts", date = new Date(now), prepare = (unsigned: Signed): Signed => unsigned } = {},
): Promise<string> {
  const unsigned: Signed & { protocol: string; hostname: string; query: Record<string, string> } = {
    method: "POST",
    protocol: "http:",
    hostname: "127.0.0.1",
    path: "/",
    query: {},
    headers: { host: new URL(sts.url).host, "content-type": "application/x-www-form-urlencoded", "x-amz-meta": "a" },
    body: "Action=GetCallerIdentity&Version=2011-06-15",
  };
  prepare(unsigned);
  const signer = new SignatureV4({ credentials, region: "us-east-1", service, sha256: Sha256 });
  const signed = (await signer.sign(unsigned, { signingDate: date })) as unknown as Signed;
  tamper(signed);
  const body = await send(signed);
  return /<(?:Code|Arn)>([^<]*)</.exec(body)?.[1] ?? body;
}

describe("a signature over a request that was changed", () => {
  test("unchanged, it names the caller", async () => {
    expect(await callerIdentity()).toBe(ARN);
  });

  const rows: [string, (signed: Signed) => void, string][] = [
    ["another body", (signed) => (signed.body += "&x=1"), "SignatureDoesNotMatch"],
    [
      "another body under another stated hash",
      (signed) => {
        signed.body += "&x=1";
        delete signed.headers["x-amz-content-sha256"];
      },
      "SignatureDoesNotMatch",
    ],
    ["another path", (signed) => (signed.path = "/x"), "SignatureDoesNotMatch"],
    ["a query", (signed) => (signed.path = "/?Action=Other"), "SignatureDoesNotMatch"],
    ["another signed header", (signed) => (signed.headers["x-amz-meta"] = "b"), "SignatureDoesNotMatch"],
    ["a signed header taken away", (signed) => delete signed.headers["x-amz-meta"], "SignatureDoesNotMatch"],
    ["an unsigned x-amz header", (signed) => (signed.headers["x-amz-more"] = "b"), "SignatureDoesNotMatch"],
    ["another date", (signed) => (signed.headers["x-amz-date"] = "20200101T000000Z"), "IncompleteSignature"],
    ["no date", (signed) => delete signed.headers["x-amz-date"], "IncompleteSignature"],
    ["no session token", (signed) => delete signed.headers["x-amz-security-token"], "InvalidClientTokenId"],
    ["no signature", (signed) => delete signed.headers["authorization"], "MissingAuthenticationToken"],
    ["a bearer token", (signed) => (signed.headers["authorization"] = "Bearer x"), "IncompleteSignature"],
    [
      "one digit of the signature",
      (signed) => {
        const authorization = signed.headers["authorization"] ?? "";
        signed.headers["authorization"] = authorization.slice(0, -1) + (authorization.endsWith("0") ? "1" : "0");
      },
      "SignatureDoesNotMatch",
    ],
    [
      "the host left out of what is signed",
      (signed) => (signed.headers["authorization"] = (signed.headers["authorization"] ?? "").replace("host;", "")),
      "SignatureDoesNotMatch",
    ],
  ];
  test.each(rows)("%s", async (_name, tamper, code) => {
    expect(await callerIdentity(tamper)).toBe(code);
  });

  test("for another host", async () => {
    const prepare = (unsigned: Signed): Signed => {
      unsigned.headers["host"] = "sts.amazonaws.com";
      return unsigned;
    };
    expect(await callerIdentity(undefined, { prepare })).toBe("SignatureDoesNotMatch");
  });

  test("for another service", async () => {
    expect(await callerIdentity(undefined, { service: "bedrock" })).toBe("SignatureDoesNotMatch");
  });

  test.each([-301, 301])("signed %i s from now", async (offset) => {
    expect(await callerIdentity(undefined, { date: new Date(now + offset * 1000) })).toBe("SignatureDoesNotMatch");
  });

  test("after the session has ended", async () => {
    const before = now;
    now = credentials.expiration.getTime() + 1000;
    try {
      expect(await callerIdentity()).toBe("ExpiredToken");
    } finally {
      now = before;
    }
  });
});
