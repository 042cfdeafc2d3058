import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const DEMO = fileURLToPath(new URL("../../src/sandbox/demo.ts", import.meta.url));

test("the demo signs somebody in through every provider, asks AWS by either federation, and prints what they got", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [DEMO, "--once"]);
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const people = [
    ["okta", "jane@acme.example", "cc-1042"],
    ["entra", "priya@emea.acme.example", "cc-2010"],
    ["auth0", "ana@labs.acme.example", "cc-4001"],
  ];
  const expected = ["web-identity", "saml"].flatMap((federation) =>
    ["oidc", "saml"].flatMap((protocol) =>
      people.map(([id = "", email, costCentre]) => ({
        provider: protocol === "oidc" ? id : `${id}-saml`,
        protocol,
        federation,
        email,
        sessionArn: `arn:aws:sts::111122223333:assumed-role/BedrockShared/${email}`,
        tags: { team: "search", "cost-centre": costCentre },
        expiration: expect.any(String) as string,
        ledgerSeq: expect.any(Number) as number,
      })),
    ),
  );
  expect(lines).toEqual(expected);
  for (const { expiration, ledgerSeq } of lines) {
    expect(Date.parse(expiration as string)).toBeGreaterThan(Date.now() + 15 * 60_000);
    expect(ledgerSeq).toBeGreaterThan(0);
  }
});
