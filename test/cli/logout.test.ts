import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { Machine } from "../support/command-line.ts";
import { problem, startStubBroker, type StubBroker } from "../support/stub-broker.ts";

let broker: StubBroker;
let machine: Machine;

beforeAll(async () => {
  broker = await startStubBroker();
});
afterAll(() => broker.stop());
beforeEach(async () => {
  machine = new Machine();
  broker.canned.clear();
  await machine.signIn(broker.url);
  await machine.run(["credentials"]);
  broker.requests.length = 0;
});

/** What is left of a sign-in: nothing but locks. */
function secretsLeft(): string[] {
  return readdirSync(machine.file(".")).filter((name) => !name.endsWith(".lock"));
}

test("ended at the broker, gone from this machine, and said how long taken credentials last", async () => {
  const run = await machine.run(["logout"]);
  expect(run).toMatchObject({ code: 0, stdout: `signed out of ${broker.url}\n` });
  expect(run.stderr).toMatch(/^note: AWS credentials that a program took already stay valid until \S+Z\n$/);
  expect(broker.count("/oauth/token/revocation")).toBe(1);
  expect(secretsLeft()).toEqual([]);
  expect((await machine.run(["credentials"])).stderr).toContain("you are not signed in");
});

const failures: [name: string, status: number][] = [
  ["the revocation fails", 500],
  ["the revocation is refused", 400],
];
test.each(failures)("%s: gone from this machine, exit code 1, and it says so", async (_name, status) => {
  broker.canned.set("/oauth/token/revocation", { status, body: { error: "invalid_request" } });
  const run = await machine.run(["logout"]);
  expect(run).toMatchObject({ code: 1, stdout: "" });
  expect(run.stderr).toContain("signed out on this machine only");
  expect(secretsLeft()).toEqual([]);
});

test("the broker is down: the same", async () => {
  await broker.stop();
  const run = await machine.run(["logout"]);
  await broker.start();
  expect(run).toMatchObject({ code: 1, stdout: "" });
  expect(run.stderr).toMatch(/signed out on this machine only, because the broker could not be told: .*ECONNREFUSED/);
  expect(secretsLeft()).toEqual([]);
});

test("twice, or with damaged files: done all the same", async () => {
  writeFileSync(machine.file("tokens.json"), "rubbish");
  expect(await machine.run(["logout"])).toMatchObject({ code: 0, stdout: `removed what was kept of ${broker.url}\n` });
  expect(await machine.run(["logout"])).toMatchObject({ code: 0, stdout: `you were not signed in at ${broker.url}\n` });
});

test("what a killed process left half written goes too", async () => {
  writeFileSync(machine.file(".tokens.json.4711.tmp"), "half");
  await machine.run(["logout"]);
  expect(existsSync(machine.file(".tokens.json.4711.tmp"))).toBe(false);
});

test("whoami --json is the broker's answer, on stdout alone", async () => {
  const run = await machine.run(["whoami", "--json"]);
  expect(run).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(run.stdout)).toMatchObject({ email: "jane@acme.example", tags: { team: "search" } });
});

test("whoami refused: the broker's sentence on stderr, nothing on stdout", async () => {
  broker.canned.set("/api/v1/whoami", problem(403, "tag_missing", "Your directory entry does not say."));
  const run = await machine.run(["whoami", "--json"]);
  expect(run).toMatchObject({ code: 1, stdout: "" });
  expect(run.stderr).toContain("Your directory entry does not say.");
});

test("what the broker sends is printed, not obeyed", async () => {
  const body = { email: "jane\u001b[2J\u202e\n", sessionName: "x", tags: { "\u0007": "\r" } };
  broker.canned.set("/api/v1/whoami", { status: 200, body });
  const run = await machine.run(["whoami"]);
  expect(run.stdout).toContain("jane\\u{1b}[2J\\u{202e}\\u{a}");
  for (const sign of ["\u0007", "\r", "\u001b", "\u202e"]) expect(run.stdout).not.toContain(sign);
});
