import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startBroker, type Broker } from "../../src/app.ts";
import { keySigner } from "../../src/aws/signer.ts";
import { stsClient } from "../../src/aws/sts.ts";
import type { Config } from "../../src/config/config.ts";
import type { LedgerEntry } from "../../src/ledger/row.ts";
import { keysRevoke, keysRotate } from "../../src/operator/keys.ts";
import { readKeys } from "../../src/keys/key-file.ts";
import { importKeys } from "../../src/keys/key-format.ts";
import type { KeyFile } from "../../src/keys/stored-keys.ts";
import { startCompany, type Company } from "../support/company.ts";
import { JANE, janesClaims, signAnything } from "../support/federation.ts";
import { recordingLog } from "../support/log.ts";
import { recordingIo } from "../support/operator-io.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

/**
 * Two brokers with one keys.json, one Redis and one ledger, and an STS that keeps the published keys for five minutes.
 * Jane asks both for credentials all the time, while keys change and the clock runs.
 */
const MINUTE = 60_000;
const JWKS_CACHE_MINUTES = 5;
let ahead = 0;
const now = (): number => Date.now() + ahead;

let redis: TestRedis;
let company: Company;
let other: Broker;
const brokers: Broker[] = [];
let token: string;
let config: Config;

beforeAll(async () => {
  redis = await startRedis();
  company = await startCompany({
    redisUrl: redis.url,
    now,
    jwksCacheSeconds: JWKS_CACHE_MINUTES * 60,
    async start(given, log) {
      config = { ...given, rateLimits: { ...given.rateLimits, perAccount: 1_000_000, perAddress: 1_000_000 } };
      const broker = await startBroker(config, log, now);
      brokers.push(broker);
      return broker;
    },
  });
  other = await startBroker({ ...config, listen: { ...config.listen, port: 0 } }, recordingLog(), now);
  brokers.push(other);
  const jane = await company.employee("okta", "Jane");
  ({ accessToken: token } = JSON.parse(await readFile(jane.file("tokens.json"), "utf8")) as { accessToken: string });
});
afterAll(async () => {
  await other.close();
  await company.close();
  await redis.stop();
});

async function answerOf({ port }: Broker): Promise<{ status: number; code?: string }> {
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/credentials`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  return { status: response.status, ...((await response.json()) as { code?: string }) };
}

/** Jane asks one broker; a refusal fails the test by its code. */
async function ask(broker: Broker): Promise<void> {
  const { status, code } = await answerOf(broker);
  expect([status, code]).toEqual([200, undefined]);
}

/** Everybody asks both brokers until `work` is done. */
async function underLoad(work: () => Promise<void>): Promise<void> {
  let done = false;
  const load = brokers.map(async (broker) => {
    while (!done) await ask(broker);
  });
  try {
    await work();
  } finally {
    done = true;
  }
  await Promise.all(load);
}

/** Minute by minute, each with some requests to both. */
async function pass(minutes: number): Promise<void> {
  for (let minute = 0; minute < minutes; minute += 1) {
    ahead += MINUTE;
    await Promise.all(brokers.map(ask));
  }
}

const reload = (): Promise<unknown> => Promise.all(brokers.map((broker) => broker.reloadKeys()));

/** Minutes in which Jane is refused by `code`, and both brokers issue again after that. */
async function minutesRefused(code: string): Promise<number> {
  for (let minutes = 0; ; minutes += 1) {
    const answers = await Promise.all(brokers.map(answerOf));
    if (answers.every(({ status }) => status === 200)) return minutes;
    expect(answers.find(({ status }) => status !== 200)?.code).toBe(code);
    ahead += MINUTE;
  }
}

async function published({ port }: Broker): Promise<string[]> {
  const response = await fetch(`http://127.0.0.1:${port}/federation/jwks`);
  return ((await response.json()) as { keys: { kid: string }[] }).keys.map(({ kid }) => kid);
}

/** That of the other broker: the first one published. */
async function activeKey(): Promise<string> {
  return (await published(other))[0] ?? "";
}

async function changes(): Promise<LedgerEntry[]> {
  return (await company.rows()).filter(({ type }) => type === "key.changed");
}

async function rotate(more: object = {}): Promise<string> {
  const io = recordingIo({});
  const options = { config: company.configFile, use: "federation", delay: "24h", json: true, ...more } as const;
  expect([await keysRotate(options, io, now()), io.stderr()]).toEqual([0, ""]);
  const { changes: made } = JSON.parse(io.stdout()) as { changes: { kid: string; from?: string }[] };
  return made.find(({ from }) => from === undefined)?.kid ?? "";
}

it("the first start is on record once, for both brokers", async () => {
  const rows = await changes();
  expect(rows.map(({ keyUse, keyTo }) => `${keyUse} ${keyTo}`).toSorted()).toEqual([
    "cookies active",
    "federation active",
    "oauth active",
    "sealing active",
  ]);
});

it("a rotation of every key refuses nobody: published first, active by itself, recorded once", async () => {
  const before = await activeKey();
  const seen = (await changes()).length;
  let next = "";
  await underLoad(async () => {
    next = await rotate({ delay: "10m" });
    for (const use of ["oauth", "cookies", "sealing"] as const) await rotate({ use, delay: "10m" });
    await reload();
    expect(await Promise.all(brokers.map(published))).toEqual([
      [before, next],
      [before, next],
    ]);
    await pass(9);
    expect(await activeKey()).toBe(before);
    await pass(2);
    await expect.poll(() => activeKey()).toBe(next);
    await pass(6);
  });
  expect(await Promise.all(brokers.map(published))).toEqual([
    [next, before],
    [next, before],
  ]);
  const rows = (await changes()).slice(seen);
  const about = rows.filter(({ keyUse }) => keyUse === "federation");
  expect(about.map(({ keyId, keyFrom, keyTo }) => [keyId, keyFrom, keyTo])).toEqual([
    [next, undefined, "prepared"],
    [before, "active", "retired"],
    [next, "prepared", "active"],
  ]);
  expect(about[0]?.actor).not.toBe("broker");
  expect(about[2]?.actor).toBe("broker");
  expect(rows).toHaveLength(12);
  // Every token names the key that was on record as active by then.
  const all = await company.rows();
  const active = about[2]?.seq ?? 0;
  const signed = all.filter(({ type }) => type === "credentials.issued").map(({ seq, keyId }) => [seq > active, keyId]);
  expect(signed.filter(([after, keyId]) => !after && keyId === next)).toEqual([]);
  expect(signed.some(([, keyId]) => keyId === next)).toBe(true);
});

it("a rotation without the delay is what the delay is for: STS does not know the key until it reads again", async () => {
  await Promise.all(brokers.map(ask));
  const next = await rotate({ now: true });
  await reload();
  expect(await activeKey()).toBe(next);
  const minutes = await minutesRefused("sts_invalid_token");
  expect(minutes).toBeGreaterThan(0);
  expect(minutes).toBeLessThanOrEqual(JWKS_CACHE_MINUTES);
});

it("a thief's token is taken until the key is revoked, and not once STS reads the keys again", async () => {
  const stolen = (await importKeys((await readKeys(company.folder, now())) as KeyFile, now())).federation[0];
  if (stolen.signs === undefined || !("privateKey" in stolen.signs)) throw new Error("no private half");
  const thief = keySigner(stolen, stolen.signs.privateKey);
  const steal = async (): Promise<unknown> => {
    const claims = { ...janesClaims(`${config.baseUrl}/federation`, now()) };
    const roles = { "https://aws.amazon.com/roles": [config.aws.roleArn] };
    const token = await signAnything(thief, { ...claims, ...roles });
    const { roleArn } = config.aws;
    return sts.assumeRole({ roleArn, sessionName: JANE, token, durationSeconds: 3600 });
  };
  const sts = stsClient({ region: "us-east-1", endpoint: company.aws.url, log: recordingLog(), now });
  try {
    await expect(steal()).resolves.toMatchObject({ sourceIdentity: JANE });
    const prepared = await rotate({ delay: "24h" });
    await reload();
    await pass(JWKS_CACHE_MINUTES + 1);
    const io = recordingIo({});
    expect(await keysRevoke({ config: company.configFile, kid: stolen.kid }, io, now())).toBe(0);
    expect(io.stdout()).toContain(`federation  ${stolen.kid}  active -> revoked\n`);
    expect(io.stdout()).toContain("replace the OIDC provider in IAM");
    await reload();
    expect(await activeKey()).toBe(prepared);
    expect(await published(other)).not.toContain(stolen.kid);
    // The prepared one was published long enough: nobody notices.
    await pass(JWKS_CACHE_MINUTES + 1);
    await expect(steal()).rejects.toMatchObject({ code: "sts_invalid_token" });
    expect(await readFile(join(company.folder, "keys.json"), "utf8")).not.toContain(
      stolen.signs.privateKey.export({ type: "pkcs8", format: "pem" }).toString().split("\n")[1],
    );
  } finally {
    sts.close();
  }
});

it("what is retired for an hour is published no longer, on record once", async () => {
  ahead += 61 * MINUTE;
  await Promise.all(brokers.map(published));
  const active = await activeKey();
  await expect.poll(() => Promise.all(brokers.map(published))).toEqual([[active], [active]]);
  const rows = await changes();
  const ids = rows.map(({ requestId }) => requestId);
  expect(new Set(ids).size).toBe(ids.length);
  expect(rows.filter(({ keyTo }) => keyTo === "dropped").length).toBeGreaterThan(0);
});
