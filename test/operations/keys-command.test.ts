import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { auditVerify } from "../../src/operator/audit.ts";
import { withConfiguredLedger } from "../../src/operator/configured-ledger.ts";
import { keysList, keysRevoke, keysRotate, moveCheckpointKey, type RotateOptions } from "../../src/operator/keys.ts";
import type { OperatorIo } from "../../src/operator/check.ts";
import { startKms, type SandboxKms } from "../../src/sandbox/kms.ts";
import { configBeside, serveBroker, type BrokerProcess } from "../support/balanced.ts";
import { broker, startCompany, type Company } from "../support/company.ts";
import { figuresOf } from "../support/figures.ts";
import { recordingIo } from "../support/operator-io.ts";

/** A broker in a process of its own, whose keys the operators' commands change while it runs; KMS is there as well. */
let company: Company;
let kms: SandboxKms;
let running: BrokerProcess;
let file: string;
let keysFile: string;
let token: string;

const AWS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] as const;
const SOON = { timeout: 15_000 };

beforeAll(async () => {
  kms = await startKms();
  const { accessKeyId, secretAccessKey, sessionToken } = kms.credentials;
  [accessKeyId, secretAccessKey, sessionToken].forEach((value, i) => (process.env[AWS[i] ?? ""] = value));
  company = await startCompany({
    async start({ listen, aws }, _log, configFile) {
      const { region, roleArn, stsEndpoint } = aws;
      file = await configBeside(configFile, "keys.yaml", {
        listen: `127.0.0.1:${listen.port}`,
        aws: { region, roleArn, stsEndpoint, kmsEndpoint: kms.url },
      });
      running = await serveBroker(file);
      return { close: () => running.stop().then(() => undefined) };
    },
  });
  keysFile = join(company.folder, "keys.json");
  const jane = await company.employee("okta", "Jane");
  ({ accessToken: token } = JSON.parse(await readFile(jane.file("tokens.json"), "utf8")) as { accessToken: string });
});
afterAll(async () => {
  await company.close();
  await kms.close();
  for (const name of AWS) Reflect.deleteProperty(process.env, name);
});

async function ask(): Promise<{ status: number; code?: string }> {
  const response = await fetch(`http://127.0.0.1:${running.port}/api/v1/credentials`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  return { status: response.status, ...((await response.json()) as { code?: string }) };
}

async function published(): Promise<string[]> {
  const response = await fetch(`http://127.0.0.1:${running.port}/federation/jwks`);
  return ((await response.json()) as { keys: { kid: string }[] }).keys.map(({ kid }) => kid);
}

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command as the program runs it, with `env` as its environment. */
async function run(command: (io: OperatorIo) => Promise<number>, env: Record<string, string> = {}): Promise<Ran> {
  const io = recordingIo(env);
  const code = await command(io);
  return { code, stdout: io.stdout(), stderr: io.stderr() };
}

const rotate = (more: Partial<RotateOptions> = {}, env?: Record<string, string>): Promise<Ran> =>
  run((io) => keysRotate({ config: file, use: "federation", delay: "24h", ...more }, io), env);
const revoke = (kid: string): Promise<Ran> => run((io) => keysRevoke({ config: file, kid }, io));

interface KeyRow {
  readonly use: string;
  readonly kid: string;
  readonly state: string;
}

async function list(): Promise<KeyRow[]> {
  const { stdout } = await run((io) => keysList({ config: file, json: true }, io));
  return (JSON.parse(stdout) as { keys: KeyRow[] }).keys;
}

const kidOf = async (state: string): Promise<string> =>
  (await list()).findLast((key) => key.use === "federation" && key.state === state)?.kid ?? "";

it("keys list says what each key is, and nothing secret", async () => {
  expect((await list()).map(({ use, state }) => `${use} ${state}`)).toEqual([
    "federation active",
    "oauth active",
    "cookies active",
    "sealing active",
  ]);
  const { stdout } = await broker("keys", "list", "--config", file);
  expect(stdout).toMatch(/^USE +STATE +ACTIVE FROM +UNTIL +KID\nfederation +active +20/);
  const { keys } = JSON.parse(await readFile(keysFile, "utf8")) as { keys: { secret?: string }[] };
  for (const { secret } of keys) if (secret !== undefined) expect(stdout).not.toContain(secret);
});

it("keys rotate prepares a key that the running broker publishes by itself, and one at a time", async () => {
  const before = await kidOf("active");
  const { code, stdout } = await rotate();
  expect(code).toBe(0);
  const prepared = await kidOf("prepared");
  expect(stdout).toContain(`federation  ${prepared}  prepared\nIt becomes active by itself at 20`);
  await expect.poll(published, SOON).toEqual([before, prepared]);
  expect((await stat(keysFile)).mode & 0o777).toBe(0o600);

  const again = await rotate();
  expect([again.code, again.stdout]).toEqual([1, ""]);
  expect(again.stderr).toContain(`error: the key ${prepared} is prepared for federation already`);

  expect((await revoke(prepared)).code).toBe(0);
  running.hangup();
  await expect.poll(published, SOON).toEqual([before]);
  const twice = await revoke(prepared);
  expect([twice.code, twice.stderr]).toMatchObject([1, expect.stringMatching(/was revoked at 20/)]);
  const rows = (await company.rows()).filter(({ type, keyId }) => type === "key.changed" && keyId === prepared);
  expect(rows.map(({ keyFrom, keyTo }) => `${keyFrom ?? ""} ${keyTo ?? ""}`)).toEqual([
    " prepared",
    "prepared revoked",
  ]);
  expect(rows.every(({ actor }) => actor !== undefined && actor !== "broker")).toBe(true);
});

describe("wrong usage changes nothing", () => {
  it.each<[string, () => Promise<Ran>, number, RegExp]>([
    ["a delay that is too short", () => rotate({ delay: "5s" }), 2, /1m to 30d/],
    ["a delay that is none", () => rotate({ delay: "soon" }), 2, /1m to 30d/],
    ["KMS for sealing", () => rotate({ use: "sealing", kms: "alias/rolecall" }), 2, /federation keys only/],
    ["a KMS alias", () => rotate({ kms: "alias/rolecall" }), 2, /not an alias/],
    ["a key that there is not", () => revoke("no-such-key"), 1, /no key in keys.json has the kid/],
    ["a delay, and now", () => broker("keys", "rotate", "--delay", "1h", "--now"), 2, /cannot be used with/],
  ])("%s", async (_name, command, code, message) => {
    const before = await readFile(keysFile, "utf8");
    expect(await command()).toMatchObject({ code, stderr: expect.stringMatching(message) as string });
    expect(await readFile(keysFile, "utf8")).toBe(before);
  });
});

describe("a key in AWS KMS", () => {
  const rotateTo = (kmsArn: string, more: Partial<RotateOptions> = {}): Promise<Ran> =>
    rotate({ kms: kmsArn, ...more });

  it.each(["RSA_2048", "ECC_NIST_P256"] as const)("of %s signs what STS takes, and is on record", async (spec) => {
    expect(await rotateTo(kms.makeKey(spec), { now: true })).toMatchObject({ code: 0, stderr: "" });
    const kid = await kidOf("active");
    await expect.poll(async () => (await published())[0], SOON).toBe(kid);
    expect(await ask()).toMatchObject({ status: 200 });
    const issued = (await company.rows()).findLast(({ type }) => type === "credentials.issued");
    expect(issued?.keyId).toBe(kid);
  });

  it("that is disabled refuses, with one row for each, until it is enabled", async () => {
    const { keys } = JSON.parse(await readFile(keysFile, "utf8")) as { keys: { kid: string; kms?: string }[] };
    const active = await kidOf("active");
    const arn = keys.find(({ kid }) => kid === active)?.kms ?? "";
    kms.setEnabled(arn, false);
    expect(await ask()).toMatchObject({ status: 503, code: "signing_unavailable" });
    const failed = (await company.rows()).filter(({ reason }) => reason === "signing_unavailable");
    expect(failed.map(({ type }) => type)).toEqual(["credentials.failed"]);
    kms.setEnabled(arn, true);
    expect(await ask()).toMatchObject({ status: 200 });
  });

  it("that can't sign never gets into keys.json", async () => {
    const before = await readFile(keysFile, "utf8");
    const arn = kms.makeKey("ECC_NIST_P384");
    expect(await rotateTo(arn)).toMatchObject({ code: 1, stderr: expect.stringMatching(/ECC_NIST_P384/) as string });
    kms.fail({ kind: "error", code: "AccessDeniedException", status: 400 });
    expect(await rotateTo(kms.makeKey("RSA_2048"))).toMatchObject({
      code: 1,
      stderr: "error: KMS answered AccessDeniedException (HTTP 400)\n",
    });
    expect(await readFile(keysFile, "utf8")).toBe(before);
  });

  it("is followed by one in keys.json when it is revoked", async () => {
    const revoked = await kidOf("active");
    expect((await revoke(revoked)).code).toBe(0);
    await expect.poll(async () => (await published()).includes(revoked), SOON).toBe(false);
    expect(await ask()).toMatchObject({ status: 200 });
  });
});

it("a broken or missing keys.json leaves the last good keys, and says so until it is mended", async () => {
  const good = await readFile(keysFile, "utf8");
  const upToDate = async (): Promise<number> =>
    (await figuresOf(`http://127.0.0.1:${running.port}`)).sum("rolecall_keys_last_reload_successful");
  const keys = await published();
  await writeFile(keysFile, "{");
  await expect.poll(upToDate, SOON).toBe(0);
  expect(await published()).toEqual(keys);
  expect(await ask()).toMatchObject({ status: 200 });
  const said = running.logged.findLast(({ msg }) => msg.startsWith("the keys were not changed"));
  expect(said?.["reason"]).toBe(`${keysFile} is not JSON`);
  expect((await rotate()).stderr).toBe(`error: ${keysFile} is not JSON\n`);

  await writeFile(keysFile, good);
  await expect.poll(upToDate, SOON).toBe(1);
});

it("without a record there is no change", async () => {
  const before = await readFile(keysFile, "utf8");
  const elsewhere = await configBeside(file, "no-ledger.yaml", { ledger: { url: { env: "DATABASE_URL" } } });
  const env = { DATABASE_URL: "postgres://broker:hunter2@127.0.0.1:1/ledger?sslmode=disable" };
  const { code, stderr } = await rotate({ config: elsewhere }, env);
  expect([code, stderr]).toMatchObject([1, expect.stringMatching(/^error: the ledger in PostgreSQL can't be opened/)]);
  expect(stderr).not.toContain("hunter2");
  expect(await readFile(keysFile, "utf8")).toBe(before);
});

it("the checkpoint key can lie elsewhere, and goes on", async () => {
  const elsewhere = join(company.folder, "checkpoint-key.json");
  const move = (to: string): Promise<Ran> => run((io) => moveCheckpointKey({ config: file, file: to }, io));
  expect(await move(elsewhere)).toMatchObject({ code: 0, stderr: "" });
  expect((await stat(elsewhere)).mode & 0o777).toBe(0o600);
  expect(JSON.parse(await readFile(keysFile, "utf8"))).not.toHaveProperty("checkpoint");
  const verify = (): Promise<Ran> =>
    run((io) =>
      withConfiguredLedger(file, io, ({ ledger, checkpointKey: checkpointPublicKey }) =>
        auditVerify({ ledger, checkpointPublicKey }, io),
      ),
    );
  expect((await verify()).stderr).toContain("checkpointKey");
  expect(await rotate()).toMatchObject({ code: 1, stderr: expect.stringMatching(/checkpointKey/) as string });

  const text = await readFile(file, "utf8");
  await writeFile(file, `${text}checkpointKey: { file: checkpoint-key.json }\n`);
  expect(await verify()).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/checkpoints in the log hold/) as string,
  });
  expect(await rotate({ delay: "1h" })).toMatchObject({ code: 0 });
  expect((await move(`${elsewhere}.2`)).stderr).toContain("not in keys.json any more");
});
