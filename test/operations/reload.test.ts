import { createHash } from "node:crypto";
import { readFile, rename, symlink, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import type { LedgerEntry } from "../../src/ledger/row.ts";
import { configBeside, serveBroker, type BrokerProcess } from "../support/balanced.ts";
import { startCompany, type Company } from "../support/company.ts";
import { figuresOf } from "../support/figures.ts";

/** A broker in a process of its own whose files the tests edit, with Jane signed in there. */
let company: Company;
let broker: BrokerProcess;
let file: string;
let original: string;
let token: string;
let seen = 0;

beforeAll(async () => {
  company = await startCompany({
    async start({ listen }, _log, configFile) {
      file = await configBeside(configFile, "reloaded.yaml", { listen: `127.0.0.1:${listen.port}` });
      broker = await serveBroker(file);
      return { close: () => broker.stop().then(() => undefined) };
    },
  });
  original = await readFile(file, "utf8");
  const jane = await company.employee("okta", "Jane");
  ({ accessToken: token } = JSON.parse(await readFile(jane.file("tokens.json"), "utf8")) as { accessToken: string });
});
afterAll(() => company.close());

beforeEach(async () => {
  await writeFile(file, original);
  await expect.poll(upToDate, SOON).toBe(1);
  await expect.poll(teamOf, SOON).toBe("search");
  seen = (await changes(0)).length;
});

const SOON = { timeout: 15_000 };
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

async function ask(): Promise<{ status: number; tags?: Record<string, string>; code?: string }> {
  const response = await fetch(`http://127.0.0.1:${broker.port}/api/v1/credentials`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  return { status: response.status, ...((await response.json()) as object) };
}

const teamOf = async (): Promise<string | undefined> => (await ask()).tags?.["team"];

async function changes(from = seen): Promise<LedgerEntry[]> {
  return (await company.rows()).filter(({ type }) => type === "config.changed").slice(from);
}

async function upToDate(): Promise<number> {
  const figures = await figuresOf(`http://127.0.0.1:${broker.port}`);
  return figures.sum("rolecall_config_last_reload_successful");
}

/** The configuration where Jane's group means another team, or what is none. */
function withTeam(team = "ml-platform", more: object = {}): string {
  const config = parse(original) as { tags: { team: { from: { match?: object }[] } } };
  const [okta] = config.tags.team.from;
  if (!okta) throw new Error("no rule");
  okta.match = { "bedrock-search": team };
  return stringify({ ...config, ...more });
}

it("an edited file counts for the next credentials, and is in the record", async () => {
  const text = withTeam();
  await writeFile(file, text);
  await expect.poll(teamOf, SOON).toBe("ml-platform");
  const rows = await changes();
  expect(rows).toMatchObject([{ outcome: "success", configSha256: sha256(text), actor: "reload" }]);
  const issued = (await company.rows()).findLast(({ type }) => type === "credentials.issued");
  expect(issued).toMatchObject({ tags: { team: "ml-platform" }, mappingVersion: rows[0]?.mappingVersion });
});

it("a broken file keeps the last good one and is one refused row; mended, it counts", async () => {
  const broken = withTeam("no team");
  await writeFile(file, broken);
  await expect.poll(upToDate, SOON).toBe(0);
  broker.hangup();
  await expect.poll(() => broker.logged.map(({ msg }) => msg), SOON).toContain("SIGHUP: the configuration has faults");
  expect(await teamOf()).toBe("search");
  expect(await changes()).toMatchObject([
    { outcome: "refused", reason: "config_invalid", configSha256: sha256(broken) },
  ]);
  const said = broker.logged.findLast((line) => "faults" in line);
  expect(JSON.stringify(said?.["faults"])).toContain("tags.team");

  await writeFile(file, withTeam());
  await expect.poll(teamOf, SOON).toBe("ml-platform");
  expect(await upToDate()).toBe(1);
});

it("a file put in its place by renaming counts, as does one that a link leads to anew", async () => {
  const renamed = join(company.folder, "reloaded.yaml.new");
  await writeFile(renamed, withTeam());
  await rename(renamed, file);
  await expect.poll(teamOf, SOON).toBe("ml-platform");

  // As Kubernetes does: the name stays, and the link behind it moves.
  const linked = join(company.folder, "..2026");
  await writeFile(linked, original);
  await symlink(linked, renamed);
  await rename(renamed, file);
  await expect.poll(teamOf, SOON).toBe("search");
  await unlink(file);
  await writeFile(file, withTeam());
  await expect.poll(teamOf, SOON).toBe("ml-platform");
  expect((await changes()).map(({ outcome }) => outcome)).toEqual(["success", "success", "success"]);
});

it("a changed list of allowed values counts, and one with a fault does not", async () => {
  const csv = join(company.folder, "cost-centres.csv");
  const list = await readFile(csv, "utf8");
  await writeFile(csv, list.replace("cc-1042,Search\n", ""));
  await expect.poll(async () => (await ask()).code, SOON).toBe("tag_not_allowed");
  expect(await changes()).toMatchObject([{ outcome: "success", configSha256: sha256(original) }]);
  await writeFile(csv, 'cost centre\n"cc-1042');
  await expect.poll(upToDate, SOON).toBe(0);
  expect(await ask()).toMatchObject({ code: "tag_not_allowed" });
  await writeFile(csv, list);
  await expect.poll(teamOf, SOON).toBe("search");
  expect((await changes()).map(({ outcome }) => outcome)).toEqual(["success", "refused", "success"]);
});

it("SIGHUP reads it again, and says so also where nothing has changed", async () => {
  broker.hangup();
  const messages = (): string[] => broker.logged.map(({ msg }) => msg);
  await expect.poll(messages, SOON).toContain("SIGHUP: tags and access are as they were");
  expect(await changes()).toEqual([]);
});

it("another field waits for a restart, and the log names it", async () => {
  await writeFile(file, withTeam(undefined, { signInMaxAge: "30m" }));
  await expect.poll(teamOf, SOON).toBe("ml-platform");
  const said = broker.logged.findLast(({ msg }) => msg === "changed fields wait for a restart");
  expect(said).toMatchObject({ fields: ["signInMaxAge"] });
});

it("a rule that reads what nobody asked for at the sign-in is refused until the next one", async () => {
  const config = parse(original) as { tags: object };
  const tags = { ...config.tags, team: { required: true, from: [{ claim: "department" }] } };
  await writeFile(file, stringify({ ...config, tags }));
  await expect.poll(async () => (await ask()).code, SOON).toBe("claim_not_kept");
});

it("an issue under way ends with the rules that it began with", async () => {
  const before = (await company.rows()).findLast(({ type }) => type === "credentials.issued");
  const called = company.aws.calls();
  // STS leaves the first attempt without an answer, and gives one to the second, five seconds later.
  company.aws.fail({ kind: "hang" });
  const underWay = ask();
  await expect.poll(() => company.aws.calls(), SOON).toBe(called + 1);
  await writeFile(file, withTeam());
  await expect.poll(() => changes(), SOON).toHaveLength(1);
  expect(await teamOf()).toBe("ml-platform");
  expect(await underWay).toMatchObject({ status: 200, tags: { team: "search" } });
  const issued = (await company.rows()).findLast(({ tags }) => tags?.["team"] === "search");
  expect(issued).toMatchObject({ type: "credentials.issued", mappingVersion: before?.mappingVersion });
  expect(issued?.seq).toBeGreaterThan((await changes())[0]?.seq ?? Infinity);
});

it("a file that is gone is refused, and what is in force stays", async () => {
  await unlink(file);
  await expect.poll(upToDate, SOON).toBe(0);
  expect(await teamOf()).toBe("search");
  const [row, ...more] = await changes();
  expect(row).toMatchObject({ outcome: "refused", reason: "config_invalid" });
  expect(row).not.toHaveProperty("configSha256");
  expect(more).toEqual([]);
});
