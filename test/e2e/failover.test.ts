import { rm } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Machine } from "../support/command-line.ts";
import { startCompany, type Company } from "../support/company.ts";
import { expectEventually, startSentinels, type SentinelGroup } from "../support/redis-groups.ts";

let redis: SentinelGroup;
let company: Company;
let jane: Machine;

beforeAll(async () => {
  // Longer than a request waits for a server that is gone, so that the outage shows.
  redis = await startSentinels(2, 1500);
  company = await startCompany({ redisUrl: redis.url(1) });
  jane = await company.employee("okta", "Jane");
});
afterAll(async () => {
  await company.close();
  await redis.stop();
});

/** As an SDK would ask, with nothing cached. */
async function askForCredentials(): Promise<number | null> {
  await rm(jane.file("credentials.json"), { force: true });
  await rm(jane.file("failure.json"), { force: true });
  return (await jane.run(["credentials", "--broker", company.config.baseUrl])).code;
}

/** What whoever stands in front, and whoever watches, is told. */
async function told(): Promise<{ readyz: number; storeUp: string | undefined }> {
  const [ready, metrics] = await Promise.all(
    ["/readyz", "/metrics"].map((path) => fetch(new URL(path, company.config.baseUrl))),
  );
  const figures = (await metrics?.text()) ?? "";
  return { readyz: ready?.status ?? 0, storeUp: /^rolecall_store_up ([01])$/m.exec(figures)?.[1] };
}

test("Redis fails over: /readyz and /metrics say so, and whoever was signed in gets credentials afterwards", async () => {
  expect(await askForCredentials()).toBe(0);
  expect(await told()).toEqual({ readyz: 200, storeUp: "1" });
  const states: Awaited<ReturnType<typeof told>>[] = [];
  await redis.kill(await redis.primaryOf(""));
  await expectEventually(async () => {
    states.push(await told());
    return states.at(-1)?.readyz === 200 && states.length > 1;
  });
  expect(states.map(({ readyz }) => readyz)).toContain(503);
  expect(states.map(({ storeUp }) => storeUp)).toContain("0");
  await expectEventually(async () => (await told()).storeUp === "1");
  expect(await askForCredentials()).toBe(0);
  const joe = await company.employee("entra");
  expect((await joe.run(["whoami", "--broker", company.config.baseUrl])).code).toBe(0);
});
