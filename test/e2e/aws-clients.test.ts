import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BedrockRuntimeClient, ConverseCommand } from "@aws-sdk/client-bedrock-runtime";
import { fromIni } from "@aws-sdk/credential-providers";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Machine } from "../support/command-line.ts";
import { startCompany, useProfile, type Company } from "../support/company.ts";

const AWS = "/usr/bin/aws";
const PYTHON = fileURLToPath(new URL("../../.cache/python/bin/python", import.meta.url));
const MODEL = "anthropic.claude-sonnet-4-20250514-v1:0";
const JANE = "arn:aws:sts::111122223333:assumed-role/BedrockShared/jane@acme.example";

let company: Company;
let jane: Machine;

beforeAll(async () => {
  company = await startCompany();
  jane = await company.employee("okta", "Jane");
  await useProfile(jane, company);
});
afterAll(() => company.close());

const run = (command: string, args: string[]): Promise<{ stdout: string }> =>
  promisify(execFile)(command, args, { env: { ...jane.env, PATH: "/usr/bin:/bin" } });

test("the AWS CLI v2 is told the ARN with the email", async () => {
  const { stdout } = await run(AWS, ["sts", "get-caller-identity", "--endpoint-url", company.aws.url]);
  expect(JSON.parse(stdout)).toMatchObject({ Account: "111122223333", Arn: JANE });
});

test("boto3 calls Converse as that person", async () => {
  const program = `
import boto3
client = boto3.client("bedrock-runtime", endpoint_url=${JSON.stringify(company.aws.url)})
answer = client.converse(modelId=${JSON.stringify(MODEL)}, messages=[{"role": "user", "content": [{"text": "Who am I?"}]}])
print(answer["output"]["message"]["content"][0]["text"])
`;
  const { stdout } = await run(PYTHON, ["-c", program]);
  expect(stdout).toContain(JANE);
  expect(stdout).toContain("cc-1042");
});

test("the AWS SDK for JavaScript calls Converse as that person", async () => {
  const { AWS_CONFIG_FILE: configFilepath = "", AWS_SHARED_CREDENTIALS_FILE: filepath = "" } = jane.env;
  // The SDK runs credential_process in this process's environment.
  const client = new BedrockRuntimeClient({
    region: "us-east-1",
    endpoint: company.aws.url,
    credentials: fromIni({ profile: "rolecall", configFilepath, filepath }),
  });
  const before = process.env["ROLECALL_HOME"];
  process.env["ROLECALL_HOME"] = jane.env["ROLECALL_HOME"];
  try {
    const answer = await client.send(
      new ConverseCommand({ modelId: MODEL, messages: [{ role: "user", content: [{ text: "Who am I?" }] }] }),
    );
    expect(answer.output?.message?.content?.[0]?.text).toContain(JANE);
  } finally {
    if (before === undefined) delete process.env["ROLECALL_HOME"];
    else process.env["ROLECALL_HOME"] = before;
    client.destroy();
  }
});

test("the ledger says why, before and after", async () => {
  const rows = await company.rows();
  const issued = rows.filter(({ type }) => type === "credentials.issued");
  // One call to STS for all of these clients: the command line keeps what it was given.
  expect(issued).toHaveLength(1);
  expect(issued[0]).toMatchObject({
    email: "jane@acme.example",
    sessionArn: JANE,
    tags: { team: "search", "cost-centre": "cc-1042" },
    trace: expect.arrayContaining([
      { tag: "team", rule: "from[0]", claim: "groups", value: "search", outcome: "spoke" },
      { tag: "team", rule: "from[1]", claim: "groups", outcome: "other provider" },
    ]) as unknown,
    outcome: "success",
  });
  const requested = rows.find(
    ({ type, requestId }) => type === "credentials.requested" && requestId === issued[0]?.requestId,
  );
  expect(requested?.seq).toBeLessThan(issued[0]?.seq ?? 0);
});
