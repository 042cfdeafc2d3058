import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Machine, type Run } from "../support/command-line.ts";
import { startStubBroker, type StubBroker } from "../support/stub-broker.ts";

/** Access tokens of this one end within the spare minute: every call needs a refresh. */
let broker: StubBroker;
let machine: Machine;

beforeAll(async () => {
  broker = await startStubBroker({ accessTokenSeconds: 30 });
});
afterAll(() => broker.stop());
beforeEach(async () => {
  machine = new Machine();
  expect(await machine.signIn(broker.url)).toMatchObject({ code: 0 });
  broker.requests.length = 0;
});

function credentials(): Promise<Run> {
  return machine.run(["credentials", "--broker", broker.url]);
}

describe("files that are not as they were left", () => {
  type Harm = (path: string) => void;
  const harms: [name: string, harm: Harm, warning: RegExp][] = [
    [
      "empty",
      (path) => {
        writeFileSync(path, "");
      },
      /damaged/,
    ],
    [
      "half written",
      (path) => {
        writeFileSync(path, readFileSync(path, "utf8").slice(0, 40));
      },
      /damaged/,
    ],
    [
      "binary",
      (path) => {
        writeFileSync(path, Buffer.from([0, 255, 254, 10]));
      },
      /damaged/,
    ],
    [
      "JSON of another shape",
      (path) => {
        writeFileSync(path, "[1]");
      },
      /damaged/,
    ],
    [
      "null",
      (path) => {
        writeFileSync(path, "null");
      },
      /damaged/,
    ],
    [
      "huge",
      (path) => {
        writeFileSync(path, " ".repeat(2_000_000));
      },
      /too large/,
    ],
    [
      "readable by others",
      (path) => {
        chmodSync(path, 0o644);
      },
      /other users may read/,
    ],
    [
      "a folder",
      (path) => {
        rmSync(path);
        mkdirSync(path);
      },
      /not a plain file/,
    ],
    [
      "a link",
      (path) => {
        rmSync(path);
        symlinkSync("/etc/passwd", path);
      },
      /ELOOP/,
    ],
  ];
  test.each(harms)("credentials.json is %s: a warning, and new ones", async (name, harm, warning) => {
    await credentials();
    harm(machine.file("credentials.json"));
    const run = await credentials();
    // A folder can't be replaced: the credentials are handed out all the same.
    expect(run.code, run.stderr).toBe(0);
    expect(run.stdout).toContain('"ASIASTUB2"');
    expect(run.stderr).toMatch(warning);
    expect(run.stderr.match(/is ignored/g)).toHaveLength(1);
    if (name !== "a folder") expect(await credentials()).toMatchObject({ code: 0, stderr: "" });
  });

  test.each(harms)("tokens.json is %s: a warning, not signed in, and a login mends it", async (name, harm, warning) => {
    harm(machine.file("tokens.json"));
    const run = await credentials();
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toMatch(warning);
    expect(run.stderr).toContain("hint: run: rolecall login");
    if (name === "a folder") rmSync(machine.file("tokens.json"), { recursive: true });
    expect(await machine.signIn(broker.url)).toMatchObject({ code: 0 });
    expect(await credentials()).toMatchObject({ code: 0, stderr: "" });
  });

  test("a lock file full of rubbish is no obstacle, not for ten at once either", async () => {
    writeFileSync(machine.file("refresh.lock"), "rubbish ".repeat(100));
    const runs = await Promise.all(Array.from({ length: 10 }, credentials));
    expect(new Set(runs.map((run) => run.code))).toEqual(new Set([0]));
    expect(broker.count("/oauth/token")).toBe(1);
  });

  test("a lock that cannot be made: says why and what to look at", async () => {
    rmSync(machine.file("refresh.lock"), { force: true });
    mkdirSync(machine.file("refresh.lock"));
    const run = await credentials();
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toMatch(/refresh\.lock cannot be taken: EISDIR\nhint: check the folder's permissions/);
  });

  test("another broker's sign-in is untouched by one that is damaged", async () => {
    const other = await startStubBroker();
    await machine.signIn(other.url);
    writeFileSync(machine.file("tokens.json"), "rubbish");
    const [one, two] = await Promise.all([credentials(), machine.run(["credentials", "--broker", other.url])]);
    expect([one.code, two.code].sort()).toEqual([0, 1]);
    await other.stop();
  });

  test("a folder that others may enter is closed", async () => {
    chmodSync(machine.file(".."), 0o755);
    chmodSync(machine.file("."), 0o777);
    expect(await credentials()).toMatchObject({ code: 0 });
    expect([statSync(machine.file("..")).mode & 0o777, statSync(machine.file(".")).mode & 0o777]).toEqual([
      0o700, 0o700,
    ]);
  });

  test("ROLECALL_HOME moves all of it", async () => {
    const ROLECALL_HOME = join(machine.home, "elsewhere");
    const run = await machine.run(["credentials", "--broker", broker.url], { ROLECALL_HOME });
    expect(run.stderr).toContain("you are not signed in");
    await machine.signIn(broker.url, { ROLECALL_HOME });
    expect(await machine.run(["credentials"], { ROLECALL_HOME })).toMatchObject({ code: 0, stderr: "" });
  });
});
