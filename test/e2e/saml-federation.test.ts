import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startBroker, type Broker } from "../../src/app.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { LedgerEntry } from "../../src/ledger/row.ts";
import { keysRevoke, keysRotate, type RotateOptions } from "../../src/operator/keys.ts";
import { printTemplate } from "../../src/operator/template.ts";
import { configBeside } from "../support/balanced.ts";
import { startCompany, type Company } from "../support/company.ts";
import { recordingIo } from "../support/operator-io.ts";
import { attributeOf, startSamlSts, type SamlSts } from "../support/saml-sts.ts";
import { certificatesOf, schemaFault, xmlsecVerifies } from "../support/xml-tools.ts";
import { parse } from "yaml";

/** A broker that AWS trusts by SAML: Jane asks it for credentials while its key changes and its clock runs. */
const PROVIDER = "arn:aws:iam::111122223333:saml-provider/Rolecall";
const HOUR = 60 * 60 * 1000;
let ahead = 0;
const now = (): number => Date.now() + ahead;

let company: Company;
let broker: Broker;
let sts: SamlSts;
let file: string;
let baseUrl: string;
let token: string;

beforeAll(async () => {
  sts = await startSamlSts("");
  company = await startCompany({
    async start({ listen, aws }, log, configFile) {
      const { region, roleArn } = aws;
      file = await configBeside(configFile, "saml.yaml", {
        listen: `127.0.0.1:${listen.port}`,
        aws: { region, roleArn, stsEndpoint: sts.url, federation: "saml", samlProviderArn: PROVIDER },
      });
      broker = await startBroker(loadConfig(file, {}), log, now);
      return broker;
    },
  });
  ({ baseUrl } = company.config);
  const jane = await company.employee("okta", "Jane");
  ({ accessToken: token } = JSON.parse(await readFile(jane.file("tokens.json"), "utf8")) as { accessToken: string });
  sts.metadata = await served();
});
afterAll(async () => {
  await company.close();
  await sts.close();
});

const served = async (): Promise<string> => (await fetch(`${baseUrl}/federation/saml/metadata`)).text();

async function ask(): Promise<{ status: number; body: string; code?: string; row: LedgerEntry | undefined }> {
  const response = await fetch(`${baseUrl}/api/v1/credentials`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  const body = await response.text();
  const row = (await company.rows()).at(-1);
  return { status: response.status, body, row, ...(JSON.parse(body) as { code?: string }) };
}

async function rotate(more: Partial<RotateOptions> = {}): Promise<{ code: number; stdout: string; stderr: string }> {
  const io = recordingIo({});
  const code = await keysRotate({ config: file, use: "saml", delay: "24h", ...more }, io, now());
  await broker.reloadKeys();
  return { code, stdout: io.stdout(), stderr: io.stderr() };
}

test("credentials by an assertion that the ledger names, and that goes nowhere else", async () => {
  const { status, body, row } = await ask();
  expect(status).toBe(200);
  const { xml = "", form: { SAMLAssertion: sent = "" } = {} } = sts.calls.at(-1) ?? {};
  expect(xmlsecVerifies(xml, certificatesOf(await served())[0] ?? "")).toBe(true);
  expect(schemaFault(xml, "protocol")).toBeUndefined();
  expect(row).toMatchObject({
    type: "credentials.issued",
    federation: "saml",
    sessionName: "jane@acme.example",
    tokenId: /<saml:Assertion [^>]*ID="([^"]+)"/.exec(xml)?.[1],
    tokenSha256: createHash("sha256").update(sent).digest("hex"),
    keyId: await keyIn("active"),
  });
  expect(attributeOf(xml, "PrincipalTag:team")).toBe("search");
  expect(attributeOf(xml, "Role")).toBe(`${company.config.aws.roleArn},${PROVIDER}`);
  const everything = JSON.stringify([body, company.logged, await company.rows()]);
  for (const secret of [sent, /<ds:SignatureValue>([^<]+)/.exec(xml)?.[1] ?? ""]) {
    expect(secret.length).toBeGreaterThan(100);
    expect(everything).not.toContain(secret);
  }
});

test("the metadata is valid, never cached, and what the template gives AWS", async () => {
  const response = await fetch(`${baseUrl}/federation/saml/metadata`);
  expect(response.headers.get("content-type")).toContain("application/samlmetadata+xml");
  expect(response.headers.get("cache-control")).toBe("no-cache");
  const metadata = await response.text();
  expect(schemaFault(metadata, "metadata")).toBeUndefined();
  const io = recordingIo({});
  expect(await printTemplate("aws/role", { config: file }, io)).toBe(0);
  const { Resources } = parse(io.stdout()) as { Resources: Record<string, unknown> };
  expect(Resources["SamlProvider"]).toEqual({
    Type: "AWS::IAM::SAMLProvider",
    Properties: { Name: "Rolecall", SamlMetadataDocument: metadata },
  });
});

test("a prepared key is in the metadata and signs nothing until an operator says so", async () => {
  const first = await keyIn("active");
  expect(await rotate({ activate: true })).toMatchObject({ code: 1, stderr: /no saml key is prepared/ });
  expect(await rotate({ now: true })).toMatchObject({ code: 2, stderr: /--now is not for saml/ });
  expect(await rotate({ use: "cookies", activate: true })).toMatchObject({ code: 2, stderr: /--activate is for saml/ });
  const prepared = await rotate();
  expect(prepared).toMatchObject({ code: 0, stdout: /saml {2}\S+ {2}prepared\nNow give AWS both certificates/ });
  expect(await rotate()).toMatchObject({ code: 1, stderr: /becomes active when told: --activate/ });
  const both = await served();
  expect(certificatesOf(both)).toHaveLength(2);
  expect(schemaFault(both, "metadata")).toBeUndefined();
  ahead += 40 * 24 * HOUR;
  await broker.reloadKeys();
  expect(await keyIn("active")).toBe(first);
  ahead = 0;
  expect(await ask()).toMatchObject({ status: 200, row: { keyId: first } });

  // Too early, AWS would not know it; with both certificates uploaded nobody notices.
  sts.metadata = both;
  expect(await rotate({ activate: true })).toMatchObject({ code: 0, stdout: /prepared -> active/ });
  const second = await keyIn("active");
  expect(second).not.toBe(first);
  expect(await ask()).toMatchObject({ status: 200, row: { keyId: second } });
  expect(certificatesOf(await served())).toEqual(certificatesOf(both).toReversed());

  ahead += 2 * HOUR;
  await broker.reloadKeys();
  expect(certificatesOf(await served())).toHaveLength(1);
  ahead = 0;
});

test("a revoked key leaves the metadata at once, and AWS refuses its successor until that is uploaded", async () => {
  sts.metadata = await served();
  const io = recordingIo({});
  expect(await keysRevoke({ config: file, kid: await keyIn("active") }, io, now())).toBe(0);
  await broker.reloadKeys();
  expect(io.stdout()).toContain("deploy template aws/role again, at once");
  expect(await ask()).toMatchObject({ status: 502, code: "sts_invalid_token", row: { type: "credentials.failed" } });
  sts.metadata = await served();
  expect((await ask()).status).toBe(200);
});

test("a session that AWS gives to somebody else is refused", async () => {
  sts.answer = { Subject: "eve@acme.example" };
  expect(await ask()).toMatchObject({ status: 502, code: "sts_response_invalid" });
  sts.answer = { SourceIdentity: "eve@acme.example" };
  expect(await ask()).toMatchObject({ status: 502, code: "sts_response_invalid" });
  sts.answer = {};
});

/** By the ledger: every change is there before it counts. */
async function keyIn(state: string): Promise<string> {
  const changes = (await company.rows()).filter(({ keyUse }) => keyUse === "saml");
  return String(changes.findLast(({ keyTo }) => keyTo === state)?.keyId);
}
