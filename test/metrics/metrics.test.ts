import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import supertest from "supertest";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { STS_ERRORS } from "../../src/aws/sts-errors.ts";
import { Metrics } from "../../src/metrics/metrics.ts";
import { Browser } from "../../src/sandbox/browser.ts";
import type { StandInId } from "../../src/sandbox/idp.ts";
import { personOf, standIn, startCompany, type Company } from "../support/company.ts";
import type { Machine } from "../support/command-line.ts";
import { Figures, figuresOf } from "../support/figures.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { startWeb, type Web } from "../support/web.ts";

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

const scrape = (): Promise<Figures> => figuresOf(company.config.baseUrl);

/** What one thing that happens adds to the figures. */
async function added(happens: () => Promise<unknown>): Promise<Figures["sum"]> {
  const before = await scrape();
  await happens();
  const after = await scrape();
  return (name, labels) => after.sum(name, labels) - before.sum(name, labels);
}

async function askForCredentials(): Promise<void> {
  await rm(jane.file("credentials.json"), { force: true });
  await rm(jane.file("failure.json"), { force: true });
  await jane.run(["credentials", "--broker", company.config.baseUrl]);
}

async function signIn(id: StandInId, name: string): Promise<void> {
  const provider = standIn(company, id);
  const browser = new Browser();
  const page = await browser.open(`${company.config.baseUrl}/login/${id}`);
  await browser.submit(page, { name: "person", value: personOf(provider, name).subject });
}

describe("what happened", () => {
  it("counts an issue by provider, the time of each step, and what gave each tag", async () => {
    const sum = await added(askForCredentials);
    expect(sum("rolecall_credentials_total", { provider: "okta", outcome: "issued", reason: "" })).toBe(1);
    expect(sum("rolecall_credentials_total")).toBe(1);
    for (const step of ["issue", "mapping", "ledger_name", "sign", "sts"]) {
      expect(sum("rolecall_step_duration_seconds_count", { step, outcome: "ok" }), step).toBe(1);
    }
    expect(sum("rolecall_step_duration_seconds_count", { step: "ledger_append", outcome: "ok" })).toBe(2);
    expect(sum("rolecall_step_duration_seconds_count", { step: "store", outcome: "ok" })).toBeGreaterThan(0);
    expect(sum("rolecall_ledger_events_total", { type: "credentials.issued", provider: "okta" })).toBe(1);
    expect(sum("rolecall_tags_issued_total", { tag: "team", source: "claim" })).toBe(1);
    expect(sum("rolecall_tags_issued_total", { source: "default" })).toBe(0);
    const answered = { method: "POST", route: "/api/v1/credentials", status: "200" };
    expect(sum("rolecall_http_requests_total", answered)).toBe(1);
    expect(sum("rolecall_http_request_duration_seconds_count", { route: answered.route })).toBe(1);
  });

  it("counts a refusal of STS by its code, and as a step that failed", async () => {
    const row = STS_ERRORS.find(({ retry }) => !retry);
    if (!row) throw new Error("every error is retried");
    company.aws.fail({ kind: "error", ...row });
    const sum = await added(askForCredentials);
    expect(sum("rolecall_sts_errors_total", { reason: row.reason })).toBe(1);
    expect(sum("rolecall_credentials_total", { provider: "okta", outcome: "refused", reason: row.reason })).toBe(1);
    expect(sum("rolecall_step_duration_seconds_count", { step: "sts", outcome: "error" })).toBe(1);
    expect(sum("rolecall_refusals_total", { reason: row.reason })).toBe(1);
    expect(sum("rolecall_ledger_events_total", { type: "credentials.failed", reason: row.reason })).toBe(1);
  });

  it("counts sign-ins by provider, and those that were denied by their reason", async () => {
    const sum = await added(async () => {
      await signIn("okta", "Luis");
      await signIn("entra", "Priya");
    });
    const event = (labels: Record<string, string>): number => sum("rolecall_ledger_events_total", labels);
    expect(sum("rolecall_step_duration_seconds_count", { step: "idp_begin", outcome: "ok" })).toBe(2);
    expect(sum("rolecall_step_duration_seconds_count", { step: "idp_finish", outcome: "ok" })).toBe(2);
    expect(event({ type: "login.denied", provider: "okta", reason: "email_unverified" })).toBe(1);
    expect(event({ type: "login.succeeded", provider: "entra", reason: "" })).toBe(1);
    expect(sum("rolecall_refusals_total", { reason: "email_unverified" })).toBe(1);
  });

  it("counts anonymous rubbish, and writes nothing of it into the ledger (law 5)", async () => {
    const { baseUrl } = company.config;
    const rows = (await company.rows()).length;
    const sum = await added(async () => {
      await fetch(`${baseUrl}/login/okta/callback?code=x&state=${"y".repeat(40)}`);
      await fetch(`${baseUrl}/api/v1/credentials`, { method: "POST", headers: { authorization: "Bearer rubbish" } });
      await fetch(`${baseUrl}/nothing/here`);
    });
    expect(sum("rolecall_refusals_total", { reason: "login_state_unknown" })).toBe(1);
    expect(sum("rolecall_refusals_total", { reason: "token_invalid" })).toBe(1);
    expect(sum("rolecall_refusals_total", { reason: "not_found" })).toBe(1);
    expect(sum("rolecall_ledger_events_total")).toBe(0);
    expect(await company.rows()).toHaveLength(rows);
  });
});

it("tells the values that only a default gave from those of claims", async () => {
  const metrics = new Metrics({
    version: "1",
    ledger: { state: () => Promise.resolve({ writable: true }) },
    store: { ping: () => Promise.resolve() },
    keys: () => [],
    keysInForce: () => true,
    mappingVersion: () => "digest",
    configInForce: () => true,
    now: Date.now,
  });
  const trace = [
    { tag: "team", rule: "from[0]", claim: "groups", outcome: "no claim" },
    { tag: "team", rule: "from[1]", claim: "department", value: "search", outcome: "spoke" },
    { tag: "cost-centre", rule: "from[0]", claim: "costCenter", outcome: "no claim" },
    { tag: "cost-centre", rule: "default", value: "unallocated", outcome: "spoke" },
  ] as const;
  metrics.recorded({ type: "credentials.requested", trace });
  metrics.recorded({ type: "credentials.issued", trace });
  const figures = new Figures((await metrics.exposition()).text);
  expect(figures.sum("rolecall_tags_issued_total", { tag: "team", source: "claim" })).toBe(1);
  expect(figures.sum("rolecall_tags_issued_total", { tag: "cost-centre", source: "default" })).toBe(1);
  expect(figures.sum("rolecall_tags_issued_total")).toBe(2);
});

describe("how things stand", () => {
  it("says that ledger and store work, which rules are in force, and how old the keys are", async () => {
    const figures = await scrape();
    expect(figures.sum("rolecall_ledger_writable")).toBe(1);
    expect(figures.sum("rolecall_store_up")).toBe(1);
    expect(figures.values("rolecall_mapping_info", "version")).toEqual(new Set([company.config.mapping.version]));
    expect(figures.sum("rolecall_build_info")).toBe(1);
    const age = figures.sum("rolecall_key_age_seconds", { use: "federation", state: "active" });
    expect(age).toBeGreaterThanOrEqual(0);
    expect(age).toBeLessThan(600);
    expect(figures.sum("process_resident_memory_bytes")).toBeGreaterThan(0);
  });

  it("says so where the ledger can't be written, or the store is away", async () => {
    const file = join(company.folder, "ledger.db");
    await rename(file, `${file}.away`);
    expect((await scrape()).sum("rolecall_ledger_writable")).toBe(0);
    await rename(`${file}.away`, file);
    expect((await scrape()).sum("rolecall_ledger_writable")).toBe(1);
    redis.pause();
    expect((await scrape()).sum("rolecall_store_up")).toBe(0);
    redis.resume();
    await expect.poll(async () => (await scrape()).sum("rolecall_store_up"), { timeout: 10_000 }).toBe(1);
  });
});

describe("label values are bounded", () => {
  it("whatever is asked for: no path, ID, method or name of the caller's choice", async () => {
    const { baseUrl } = company.config;
    // Node's own come as they happen: a first major garbage collection is a new one.
    const series = (figures: Figures): number =>
      figures.text.split("\n").filter((line) => line.startsWith("rolecall_")).length;
    const flood = async (): Promise<void> => {
      for (let i = 0; i < 20; i += 1) {
        const odd = crypto.randomUUID();
        await fetch(`${baseUrl}/${odd}`, { method: `X${odd.replaceAll("-", "").toUpperCase()}` });
        await fetch(`${baseUrl}/login/${odd}`);
        await fetch(`${baseUrl}/oauth/${odd}`);
        await fetch(`${baseUrl}/oauth/auth/${odd}`);
        await fetch(`${baseUrl}/oauth/approve/${odd}`);
        await fetch(`${baseUrl}/problems/${odd}`);
        await fetch(`${baseUrl}/assets/${odd}`);
        await fetch(`${baseUrl}/api/${odd}`);
      }
    };
    await flood();
    const before = await scrape();
    await flood();
    expect(series(await scrape())).toBe(series(before));
    expect(before.text).not.toMatch(/@|[\da-f]{8}-[\da-f]{4}-/);
  });
});

describe("who may read them", () => {
  const hosts = { baseUrl: "https://rolecall.acme.example" };
  const status = async (web: Web, headers: Record<string, string>): Promise<number> => {
    const answer = await supertest(web.url).get("/metrics").set(headers);
    return answer.status;
  };

  it.each<[string, Record<string, string>, number]>([
    ["a scraper on the broker's own network", {}, 200],
    ["somebody through a proxy", { "X-Forwarded-For": "203.0.113.7" }, 404],
    ["somebody through a proxy that tells only the protocol", { "X-Forwarded-Proto": "https" }, 404],
    ["somebody through a standard proxy", { Forwarded: "for=203.0.113.7" }, 404],
    ["somebody through a gateway", { Via: "1.1 gateway" }, 404],
    ["somebody who asks for the public name", { Host: "rolecall.acme.example" }, 404],
  ])("%s", async (_who, headers, expected) => {
    const web = await startWeb({ config: hosts });
    try {
      expect(await status(web, headers)).toBe(expected);
    } finally {
      await web.close();
    }
  });
});
