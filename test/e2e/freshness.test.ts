import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startBroker } from "../../src/app.ts";
import { REASONS } from "../../src/flow/errors.ts";
import type { JsonValue } from "../../src/flow/identity.ts";
import { Browser, type Page } from "../../src/sandbox/browser.ts";
import type { StandInId } from "../../src/sandbox/idp.ts";
import { ENTRA_GROUPS } from "../../src/sandbox/people.ts";
import type { Machine } from "../support/command-line.ts";
import { personOf, standIn, startCompany, type Company } from "../support/company.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

/** Threat 21: somebody disabled at the provider gets nothing after claimsMaxAge, by two brokers on one Redis. */

const CLAIMS_MAX_AGE = 60;
let ahead = 0;
const now = (): number => Date.now() + ahead;
const letClaimsGetStale = (): void => {
  ahead += (CLAIMS_MAX_AGE + 1) * 1000;
};

let redis: TestRedis;
let company: Company;
/** Both brokers' addresses. */
let brokers: string[];

beforeAll(async () => {
  redis = await startRedis();
  company = await startCompany({
    redisUrl: redis.url,
    now,
    start: async (config, log) => {
      const providers = config.providers.map((it) => ({ ...it, claimsMaxAgeSeconds: CLAIMS_MAX_AGE }));
      const first = await startBroker({ ...config, providers }, log, now);
      const second = await startBroker({ ...config, providers, listen: { ...config.listen, port: 0 } }, log, now);
      brokers = [first, second].map(({ port }) => `http://127.0.0.1:${port}`);
      return {
        async close() {
          await Promise.all([first.close(), second.close()]);
        },
      };
    },
  });
});
afterAll(async () => {
  await company.close();
  await redis.stop();
});
beforeEach(() => {
  for (const { staff, state, people } of company.providers) {
    state.down = false;
    for (const { subject, claims } of people) {
      staff.enable(subject);
      staff.change(subject, claims);
    }
  }
});

interface ApiAnswer {
  readonly status: number;
  readonly code?: string;
  readonly tags?: Readonly<Record<string, string>>;
}

async function ask(machine: Machine, path: string, broker = brokers[0]): Promise<ApiAnswer> {
  const { accessToken } = JSON.parse(readFileSync(machine.file("tokens.json"), "utf8")) as { accessToken: string };
  const response = await fetch(`${broker ?? ""}/api/v1/${path}`, {
    method: path === "credentials" ? "POST" : "GET",
    headers: { authorization: `Bearer ${accessToken}` },
  });
  return { status: response.status, ...((await response.json()) as object) };
}

const askForCredentials = (machine: Machine, broker?: string): Promise<ApiAnswer> =>
  ask(machine, "credentials", broker);

async function signIn(id: StandInId, name: string): Promise<{ browser: Browser; page: Page }> {
  const browser = new Browser();
  const choice = await browser.open(`${company.config.baseUrl}/login/${id}`);
  const { subject } = personOf(standIn(company, id), name);
  return { browser, page: await browser.submit(choice, { name: "person", value: subject }) };
}

async function typesOf(email: string, since: number): Promise<(readonly [string, string | undefined])[]> {
  const rows = await company.rows();
  return rows
    .filter((row) => row.seq > since && row.email === email)
    .map(({ type, reason }) => [type, reason] as const);
}

const lastRow = async (): Promise<number> => (await company.rows()).at(-1)?.seq ?? 0;

describe("a change at the provider counts at the next issue after claimsMaxAge", () => {
  const changes: [StandInId, Record<string, JsonValue>][] = [
    ["okta", { groups: ["bedrock-ml"] }],
    ["entra", { groups: [ENTRA_GROUPS.mlPlatform] }],
    ["auth0", { "https://acme.example/team": "ml-platform" }],
  ];
  test.for(changes)("%s", async ([id, claims]) => {
    const provider = standIn(company, id);
    const machine = await company.employee(id);
    provider.staff.change(personOf(provider).subject, claims);
    const before = provider.state.refreshes;
    expect(await askForCredentials(machine)).toMatchObject({ status: 200, tags: { team: "search" } });
    expect(provider.state.refreshes).toBe(before);
    for (const round of [1, 2]) {
      letClaimsGetStale();
      expect(await askForCredentials(machine)).toMatchObject({ status: 200, tags: { team: "ml-platform" } });
      expect(await ask(machine, "whoami")).toMatchObject({ tags: { team: "ml-platform" } });
      expect(provider.state.refreshes).toBe(before + round);
    }
    const issued = (await company.rows()).findLast(({ type }) => type === "credentials.issued");
    expect(issued).toMatchObject({ claims, tags: { team: "ml-platform" } });
  });

  test("also on the page of a browser, and to a refusal", async () => {
    const { browser, page } = await signIn("okta", "Jane");
    expect(page.text).toContain("<strong>search</strong>");
    const okta = standIn(company, "okta");
    const { subject } = personOf(okta, "Jane");
    okta.staff.change(subject, { groups: ["bedrock-ml"] });
    letClaimsGetStale();
    expect((await browser.open(company.config.baseUrl)).text).toContain("<strong>ml-platform</strong>");
    okta.staff.change(subject, { email_verified: false });
    letClaimsGetStale();
    const refused = await browser.open(company.config.baseUrl);
    expect(refused.text).toContain(REASONS.email_unverified.sentence);
  });
});

describe("somebody who is disabled at the provider", () => {
  test("gets nothing after claimsMaxAge, at either broker, on one record; and can come back", async () => {
    const okta = standIn(company, "okta");
    const { subject, email } = personOf(okta, "Omar");
    const machine = await company.employee("okta", "Omar");
    okta.staff.disable(subject);
    expect(await askForCredentials(machine)).toMatchObject({ status: 200 });

    const [since, refreshes] = [await lastRow(), okta.state.refreshes];
    letClaimsGetStale();
    for (const broker of brokers) {
      expect(await askForCredentials(machine, broker)).toMatchObject({ status: 401, code: "sign_in_revoked" });
      expect(await ask(machine, "whoami", broker)).toMatchObject({ status: 401, code: "sign_in_revoked" });
    }
    expect(okta.state.refreshes).toBe(refreshes + 1);
    expect(await typesOf(email, since)).toEqual([
      ["session.revoked", "sign_in_revoked"],
      ["credentials.denied", "sign_in_revoked"],
      ["credentials.denied", "sign_in_revoked"],
    ]);

    await rm(machine.file("credentials.json"), { force: true });
    const run = await machine.run(["credentials", "--broker", company.config.baseUrl]);
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toContain(REASONS.sign_in_revoked.sentence);

    okta.staff.enable(subject);
    expect(await askForCredentials(machine)).toMatchObject({ status: 401, code: "sign_in_revoked" });
    expect(await askForCredentials(await company.employee("okta", "Omar"))).toMatchObject({ status: 200 });
  });

  test("is signed out of the browser", async () => {
    const entra = standIn(company, "entra");
    const { browser } = await signIn("entra", "Tomas");
    entra.staff.disable(personOf(entra, "Tomas").subject);
    letClaimsGetStale();
    const page = await browser.open(company.config.baseUrl);
    expect(page.text).toContain("/login/entra");
    expect(page.text.replaceAll("&#39;", "'")).toContain(REASONS.sign_in_revoked.sentence);
  });
});

test("20 requests at once with stale claims, at two brokers: the provider is asked once", async () => {
  const auth0 = standIn(company, "auth0");
  const machine = await company.employee("auth0", "Ana");
  const before = auth0.state.refreshes;
  letClaimsGetStale();
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => askForCredentials(machine, brokers[i % brokers.length])),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
  expect(auth0.state.refreshes).toBe(before + 1);
});

test("the provider is down: refused, the sign-in is kept, and credentials flow again when it is back", async () => {
  const entra = standIn(company, "entra");
  const machine = await company.employee("entra", "Priya");
  entra.state.down = true;
  expect(await askForCredentials(machine)).toMatchObject({ status: 200 });
  letClaimsGetStale();
  const since = await lastRow();
  expect(await askForCredentials(machine)).toMatchObject({ status: 502, code: "idp_unreachable" });
  expect(await typesOf(personOf(entra, "Priya").email, since)).toEqual([["credentials.denied", "idp_unreachable"]]);
  entra.state.down = false;
  ahead += 5_000;
  expect(await askForCredentials(machine)).toMatchObject({ status: 200 });
});

test("past signInMaxAge the person signs in again, and the provider is not asked", async () => {
  const okta = standIn(company, "okta");
  const machine = await company.employee("okta", "Jane");
  const before = okta.state.refreshes;
  ahead += company.config.signInMaxAgeSeconds * 1000 + 1000;
  expect(await askForCredentials(machine)).toMatchObject({ status: 401, code: "sign_in_expired" });
  expect(okta.state.refreshes).toBe(before);
});
