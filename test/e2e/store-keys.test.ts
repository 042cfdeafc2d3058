import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startBroker } from "../../src/app.ts";
import { Browser } from "../../src/sandbox/browser.ts";
import type { StandInId } from "../../src/sandbox/idp.ts";
import { personOf, standIn, startCompany, type Company } from "../support/company.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

/** docs/store.md lists every key that the broker writes: what it says is compared with what Redis was told. */

const CLAIMS_MAX_AGE = 60;
let ahead = 0;
const now = (): number => Date.now() + ahead;

let redis: TestRedis;
let company: Company;
let monitor: Redis;
/** Every command that Redis got, in the order of their arrival. */
const commands: string[][] = [];

beforeAll(async () => {
  redis = await startRedis();
  monitor = await new Redis(redis.port).monitor();
  monitor.on("monitor", (_time: string, command: string[]) => commands.push(command));
  company = await startCompany({
    redisUrl: redis.url,
    now,
    start: (config, log) => {
      const providers = config.providers.map((it) => ({ ...it, claimsMaxAgeSeconds: CLAIMS_MAX_AGE }));
      return startBroker({ ...config, providers }, log, now);
    },
  });
});
afterAll(async () => {
  monitor.disconnect();
  await company.close();
  await redis.stop();
});

/** The first column of the table of keys, each as what it means: `oauth:{GRANT}:code:HASH`. */
function documentedKeys(): string[] {
  const documented = readFileSync(new URL("../../docs/store.md", import.meta.url), "utf8");
  return [...documented.matchAll(/^\| `([^`]+)`/gm)].map(([, key = ""]) => key);
}

function matching(pattern: string): RegExp {
  const sha256 = "[A-Za-z0-9_-]{43}";
  const parts = { HASH: sha256, GRANT: sha256, ID: "[A-Za-z0-9_-]{22}", NAME: "[a-z_]+", HEX: "[0-9a-f]{64}" };
  const escaped = pattern.replaceAll(/[{}]/g, String.raw`\$&`);
  return new RegExp(
    `^rolecall:${escaped.replaceAll(/HASH|GRANT|ID|NAME|HEX/g, (name) => parts[name as keyof typeof parts])}$`,
  );
}

async function signIn(id: StandInId, name: string): Promise<Browser> {
  const browser = new Browser();
  const choice = await browser.open(`${company.config.baseUrl}/login/${id}`);
  await browser.submit(choice, { name: "person", value: personOf(standIn(company, id), name).subject });
  return browser;
}

/** All that a person can do: the command line, a renewed token, stale claims, two browsers, the end of each. */
async function liveThroughAll(): Promise<void> {
  const { baseUrl } = company.config;
  const machine = await company.employee("okta", "Jane");
  await machine.run(["credentials", "--broker", baseUrl]);
  ahead += (CLAIMS_MAX_AGE + 1) * 1000;
  await machine.run(["whoami", "--broker", baseUrl]);
  const { refreshToken } = JSON.parse(readFileSync(machine.file("tokens.json"), "utf8")) as { refreshToken: string };
  const body = new URLSearchParams({
    grant_type: "refresh_token",
    client_id: "rolecall-cli",
    refresh_token: refreshToken,
  });
  expect((await fetch(`${baseUrl}/oauth/token`, { method: "POST", body })).status).toBe(200);
  expect((await machine.run(["logout"])).code).toBe(0);

  const browser = await signIn("okta", "Jane");
  await browser.submit(await browser.open(baseUrl));
  const tomas = await signIn("entra", "Tomas");
  standIn(company, "entra").staff.disable(personOf(standIn(company, "entra"), "Tomas").subject);
  ahead += (CLAIMS_MAX_AGE + 1) * 1000;
  await tomas.open(baseUrl);
}

test("every key is in the table, and every line of the table is a key", async () => {
  await liveThroughAll();
  // What MONITOR has not told yet comes before this.
  const marker = new Redis(redis.port);
  await marker.echo("told all");
  await expect.poll(() => commands.some((command) => command.includes("told all"))).toBe(true);
  marker.disconnect();

  const writes = commands.filter(([name = ""]) => !["get", "exists", "ttl"].includes(name.toLowerCase()));
  const keys = new Set(writes.flat().filter((word) => word.startsWith("rolecall:")));
  const patterns = documentedKeys();
  const expressions = patterns.map(matching);
  const undocumented = [...keys].filter((key) => !expressions.some((expression) => expression.test(key)));
  const unused = patterns.filter((_, i) => ![...keys].some((key) => expressions[i]?.test(key)));
  expect({ undocumented, unused }).toEqual({ undocumented: [], unused: [] });
  for (const [key, seconds] of await redis.lifetimes()) expect(seconds, key).toBeGreaterThan(0);
});

test("keys of one command share a hash tag, as a Cluster needs it", () => {
  const slots = commands.map((command) => new Set(command.filter((word) => word.startsWith("rolecall:")).map(tagOf)));
  expect(slots.filter(({ size }) => size > 1)).toEqual([]);
});

/** What of a key decides its slot ("Redis cluster specification", hash tags). */
function tagOf(key: string): string {
  return /\{([^}]+)\}/.exec(key)?.[1] ?? key;
}
