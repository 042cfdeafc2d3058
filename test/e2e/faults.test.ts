import { chmod, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { STS_ERRORS } from "../../src/aws/sts-errors.ts";
import { REASONS, type ReasonCode } from "../../src/flow/errors.ts";
import type { Machine, Run } from "../support/command-line.ts";
import { startCompany, type Company } from "../support/company.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

let redis: TestRedis;
let company: Company;
let jane: Machine;

beforeAll(async () => {
  redis = await startRedis();
  company = await startCompany({ redisUrl: redis.url });
  jane = await company.employee("okta", "Jane");
});
afterAll(async () => {
  await company.close();
  await redis.stop();
});

/** As an SDK would ask, with nothing cached. */
async function askForCredentials(): Promise<Run> {
  await rm(jane.file("credentials.json"), { force: true });
  await rm(jane.file("failure.json"), { force: true });
  return jane.run(["credentials", "--broker", company.config.baseUrl]);
}

async function expectRefusal(code: ReasonCode): Promise<void> {
  const run = await askForCredentials();
  expect(run.stderr).toContain(REASONS[code].sentence);
  expect(run).toMatchObject({ code: 1, stdout: "" });
}

async function expectCredentials(): Promise<void> {
  const run = await askForCredentials();
  expect(run).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(run.stdout)).toMatchObject({ Version: 1 });
}

describe("the ledger's file can't be written: no credentials; mended, they flow again without a restart", () => {
  const file = (name = "ledger.db"): string => join(company.folder, name);
  const faults: [string, () => Promise<() => Promise<void>>][] = [
    [
      "read-only",
      async () => {
        await chmod(file(), 0o400);
        return () => chmod(file(), 0o600);
      },
    ],
    [
      "moved away",
      async () => {
        await rename(file(), file("elsewhere.db"));
        return () => rename(file("elsewhere.db"), file());
      },
    ],
    [
      "locked by another process",
      () => {
        const other = new DatabaseSync(file());
        other.exec("BEGIN EXCLUSIVE");
        return Promise.resolve(() => {
          other.close();
          return Promise.resolve();
        });
      },
    ],
  ];
  test.for(faults)("%s", async ([, breakIt]) => {
    await expectCredentials();
    const called = company.aws.calls();
    const mend = await breakIt();
    await expectRefusal("ledger_unavailable");
    expect(company.aws.calls()).toBe(called);
    await mend();
    await expectCredentials();
  });
});

test.for(["stopped", "frozen"] as const)("Redis is %s: refused, and served again when it is back", async (fault) => {
  await expectCredentials();
  if (fault === "frozen") redis.pause();
  else await redis.stop();
  const run = await askForCredentials();
  expect(run).toMatchObject({ code: 1, stdout: "" });
  if (fault === "frozen") redis.resume();
  else await redis.start();
  // A Redis that came back empty has forgotten who was signed in.
  if (fault === "stopped") jane = await company.employee("okta", "Jane");
  await expectCredentials();
});

describe("STS says no: its own reason, recorded as the outcome of the request", () => {
  test.for(STS_ERRORS.map((row) => [row.wireCode, row] as const))("%s", async ([, row]) => {
    const before = company.aws.calls();
    company.aws.fail(...Array.from({ length: row.retry ? 5 : 1 }, () => ({ kind: "error", ...row }) as const));
    await expectRefusal(row.reason);
    expect(company.aws.calls() - before > 1).toBe(row.retry);
    const rows = (await company.rows()).filter(({ type }) => type.startsWith("credentials."));
    const failed = rows.at(-1);
    expect(failed).toMatchObject({ type: "credentials.failed", reason: row.reason, outcome: "failed" });
    expect(rows.at(-2)).toMatchObject({ type: "credentials.requested", requestId: failed?.requestId });
    await expectCredentials();
  });
});
