import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromIni, fromProcess } from "@aws-sdk/credential-providers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Machine, PROGRAM } from "../support/command-line.ts";
import { python } from "../support/botocore.ts";
import { startStubBroker, type StubBroker } from "../support/stub-broker.ts";

/** The profile as configure writes it, run by the SDKs themselves: botocore without a shell, JavaScript by sh. */

let broker: StubBroker;
beforeAll(async () => {
  broker = await startStubBroker();
});
afterAll(() => broker.stop());

const places: [name: string, folder: string][] = [
  ["a plain path", "opt/rolecall"],
  ["a path with spaces", "Program Files/rolecall (x86)"],
  ["a path with quotes of one kind, signs and commas", "it's & co, 100% <best> *[a-z]* ~|{x}"],
  ["a path with hashes and semicolons inside words", "c#/a;b"],
];

describe.each(places)("installed at %s", (_name, folder) => {
  let machine: Machine;
  let configFile: string;
  let AccessKeyId: string;

  beforeAll(async () => {
    machine = new Machine();
    configFile = join(machine.home, ".aws", "config");
    const { node, program } = install(join(machine.home, folder));
    const configure = ["configure", "--profile", "bedrock", "--region", "us-east-1", "--broker", broker.url];
    const run = spawnSync(node, [program, ...configure], { env: machine.env, encoding: "utf8" });
    expect(run).toMatchObject({ status: 0 });
    await machine.signIn(broker.url);
    const { stdout } = await machine.run(["credentials"]);
    ({ AccessKeyId } = JSON.parse(stdout) as { AccessKeyId: string });
  });

  test("botocore", () => {
    const program = `
import botocore.session
session = botocore.session.Session(profile="bedrock")
credentials = session.get_credentials()
print(credentials.method, credentials.access_key, credentials.token, session.get_config_variable("region"))`;
    const env = { ...machine.env, AWS_CONFIG_FILE: configFile, AWS_SHARED_CREDENTIALS_FILE: "/dev/null" };
    expect(python(program, "", env)).toBe(`custom-process ${AccessKeyId} token== us-east-1\n`);
  });

  test("AWS CLI v2", () => {
    const args = ["configure", "export-credentials", "--profile", "bedrock"];
    const run = spawnSync("/usr/bin/aws", args, { env: machine.env, encoding: "utf8" });
    expect(run.status, run.stderr).toBe(0);
    expect(JSON.parse(run.stdout)).toMatchObject({ Version: 1, AccessKeyId, SessionToken: "token==" });
  });

  test.each([
    ["fromIni", fromIni],
    ["fromProcess", fromProcess],
  ])("JavaScript: %s", async (_sdk, from) => {
    const before = process.env["HOME"];
    // The helper finds its folder by HOME, and the SDK gives it this process's environment.
    process.env["HOME"] = machine.home;
    try {
      const provider = from({
        profile: "bedrock",
        configFilepath: configFile,
        filepath: "/dev/null",
        ignoreCache: true,
      });
      const credentials = await provider();
      expect(credentials).toMatchObject({ accessKeyId: AccessKeyId, sessionToken: "token==" });
      expect(credentials.expiration?.getTime()).toBeGreaterThan(Date.now() + 15 * 60 * 1000);
    } finally {
      process.env["HOME"] = before;
    }
  });
});

test.each([
  ["a dollar", "a$HOME"],
  ["a backquote", "a`id`"],
  ["a double quote", 'a"b'],
  ["a comment sign after a space", "a #b"],
  ["a letter beyond ASCII", "ä"],
])("%s in the path: refused, since SDKs read it differently", (_name, folder) => {
  const machine = new Machine();
  const { node, program } = install(join(machine.home, folder));
  const args = [program, "configure", "--broker", broker.url, "--print"];
  const run = spawnSync(node, args, { env: machine.env, encoding: "utf8" });
  expect(run).toMatchObject({ status: 1, stdout: "" });
  expect(run.stderr).toContain("mean different things to different SDKs");
});

test("from a checkout: the profile names the built file, or says how to build it", () => {
  const machine = new Machine();
  const root = mkdtempSync(join(tmpdir(), "rolecall-checkout-"));
  for (const part of ["src", "package.json"])
    cpSync(new URL(`../../${part}`, import.meta.url), join(root, part), { recursive: true });
  symlinkSync(new URL("../../node_modules", import.meta.url).pathname, join(root, "node_modules"));
  const args = [join(root, "src/cli.ts"), "configure", "--broker", broker.url, "--print"];
  const unbuilt = spawnSync(process.execPath, args, { env: machine.env, encoding: "utf8" });
  expect(unbuilt).toMatchObject({ status: 1, stdout: "" });
  expect(unbuilt.stderr).toContain("hint: run: npm run build:cli");
  mkdirSync(join(root, "dist"));
  cpSync(PROGRAM, join(root, "dist/rolecall.mjs"));
  const built = spawnSync(process.execPath, args, { env: machine.env, encoding: "utf8" });
  expect(built.stdout).toContain(`" "${root}/dist/rolecall.mjs" credentials --broker ${broker.url}\n`);
});

/** The program at another place, and a Node whose own path lies there too. */
function install(folder: string): { node: string; program: string } {
  mkdirSync(folder, { recursive: true });
  const program = join(folder, "rolecall.mjs");
  cpSync(PROGRAM, program);
  return { node: process.execPath, program };
}
