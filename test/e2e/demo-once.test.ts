import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const DEMO = fileURLToPath(new URL("../../src/sandbox/demo.ts", import.meta.url));

test("the demo signs somebody in through every provider and prints what they got", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [DEMO, "--once"]);
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines.map(({ provider, email, sessionArn, tags }) => ({ provider, email, sessionArn, tags }))).toEqual([
    {
      provider: "okta",
      email: "jane@acme.example",
      sessionArn: "arn:aws:sts::111122223333:assumed-role/BedrockShared/jane@acme.example",
      tags: { team: "search", "cost-centre": "cc-1042" },
    },
    {
      provider: "entra",
      email: "priya@emea.acme.example",
      sessionArn: "arn:aws:sts::111122223333:assumed-role/BedrockShared/priya@emea.acme.example",
      tags: { team: "search", "cost-centre": "cc-2010" },
    },
    {
      provider: "auth0",
      email: "ana@labs.acme.example",
      sessionArn: "arn:aws:sts::111122223333:assumed-role/BedrockShared/ana@labs.acme.example",
      tags: { team: "search", "cost-centre": "cc-4001" },
    },
  ]);
  for (const { protocol, federation, expiration, ledgerSeq } of lines) {
    expect({ protocol, federation }).toEqual({ protocol: "oidc", federation: "web-identity" });
    expect(Date.parse(expiration as string)).toBeGreaterThan(Date.now() + 15 * 60_000);
    expect(ledgerSeq).toBeGreaterThan(0);
  }
});
