import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  existsSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { Machine, PROGRAM } from "../support/command-line.ts";

const BROKER = "https://rolecall.acme.example";
const LINE = `credential_process = "${process.execPath}" "${PROGRAM}" credentials --broker ${BROKER}`;

let machine: Machine;
let config: string;

beforeEach(() => {
  machine = new Machine();
  config = join(machine.home, ".aws", "config");
});

const configure = (...more: string[]): string[] => ["configure", "--broker", BROKER, ...more];

function put(path: string, content: string, mode = 0o600): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content, { encoding: "latin1", mode });
  chmodSync(path, mode);
}

const got = (path = config): string => readFileSync(path, "latin1");

describe("what is written", () => {
  test("no file yet: folder 0700, file 0600, the profile with absolute paths in double quotes", async () => {
    const run = await machine.run(configure("--region", "us-east-1"));
    expect(run).toMatchObject({ code: 0, stdout: `profile rolecall is in ${config}\n` });
    expect(got()).toBe(`[profile rolecall]\n${LINE}\nregion = us-east-1\n`);
    expect([statSync(config).mode & 0o777, statSync(dirname(config)).mode & 0o777]).toEqual([0o600, 0o700]);
  });

  test("a second time: the file is not touched", async () => {
    await machine.run(configure());
    const before = statSync(config, { bigint: true });
    expect(await machine.run(configure())).toMatchObject({ code: 0 });
    const { ino, mtimeNs } = statSync(config, { bigint: true });
    expect([ino, mtimeNs]).toEqual([before.ino, before.mtimeNs]);
  });

  test("all else in the file, its mode and a link to it stay", async () => {
    const real = join(machine.home, "dotfiles", "aws");
    const before = "# \xe9\xff mine\r\n[default]\r\nregion=eu-west-1 ; here\r\n\r\n[profile rolecall]\r\noutput=json";
    put(real, before, 0o640);
    mkdirSync(dirname(config), { recursive: true });
    symlinkSync(real, config);
    expect(await machine.run(configure())).toMatchObject({ code: 0 });
    expect(got()).toBe(before.replace("[profile rolecall]\r\n", `[profile rolecall]\r\n${LINE}\r\n`));
    expect(lstatSync(config).isSymbolicLink()).toBe(true);
    expect(statSync(real).mode & 0o777).toBe(0o640);
  });

  test("AWS_CONFIG_FILE is honoured, with ~ as botocore reads it, and from where the user stands", async () => {
    for (const AWS_CONFIG_FILE of ["~/tilde", "plain"]) {
      expect(await machine.run(configure(), { AWS_CONFIG_FILE })).toMatchObject({ code: 0 });
      expect(got(join(machine.home, AWS_CONFIG_FILE.replace("~/", "")))).toContain(LINE);
    }
    const INIT_CWD = join(machine.home, "stood");
    mkdirSync(INIT_CWD);
    const npm = { INIT_CWD, npm_package_name: "rolecall" };
    await machine.run(configure(), { ...npm, AWS_CONFIG_FILE: "from-npm" });
    expect(got(join(INIT_CWD, "from-npm"))).toContain(LINE);
    expect(existsSync(config)).toBe(false);
  });

  test("--print shows the profile, writes nothing, remembers nothing", async () => {
    const run = await machine.run(configure("--print", "--profile", "bedrock"));
    expect(run).toEqual({ code: 0, signal: null, stdout: `[profile bedrock]\n${LINE}\n`, stderr: "" });
    expect(existsSync(config)).toBe(false);
    expect(await machine.run(["whoami"])).toMatchObject({ code: 2 });
  });

  test("the broker is remembered, and --profile finds it in the profile", async () => {
    await machine.run(configure());
    expect((await machine.run(["whoami"])).stderr).toContain(`not signed in at ${BROKER}`);
    await machine.run(["configure", "--profile", "other", "--broker", "https://other.acme.example/rolecall"]);
    const run = await machine.run(["credentials", "--profile", "rolecall"]);
    expect(run.stderr).toContain(`not signed in at ${BROKER}`);
    expect(await machine.run(["credentials", "--profile", "nobody"])).toMatchObject({ code: 2 });
  });

  test("ten at once, ten profiles: all of them are there", async () => {
    const profiles = Array.from({ length: 10 }, (_, index) => `p${index}`);
    const runs = await Promise.all(profiles.map((profile) => machine.run(configure("--profile", profile))));
    expect(runs.map((run) => run.code)).toEqual(profiles.map(() => 0));
    for (const profile of profiles) expect(got()).toContain(`[profile ${profile}]\n${LINE}\n`);
  });
});

describe("other sources of credentials", () => {
  const foreign: [name: string, line: string][] = [
    ["another helper", "credential_process = /opt/other-helper"],
    ["a role", "role_arn = arn:aws:iam::111122223333:role/Other"],
    ["IAM Identity Center", "sso_session = acme"],
    ["a web identity", "web_identity_token_file = /token"],
    ["keys", "aws_access_key_id = AKIAEXAMPLE"],
  ];
  test.each(foreign)("%s: refused, nothing changed; --force replaces it", async (_name, line) => {
    const before = `[profile rolecall]\noutput = json\n${line}\n[profile other]\n${line}\n`;
    put(config, before);
    const run = await machine.run(configure());
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toMatch(/has other settings already: [a-z_]+\nhint: .*--force/);
    expect(run.stderr).not.toContain(line.split(" = ")[1]);
    expect(got()).toBe(before);
    expect(await machine.run(configure("--force"))).toMatchObject({ code: 0 });
    expect(got()).toContain(LINE);
    expect(got()).toContain("output = json");
    expect(got().match(new RegExp(`^${line.split(" ")[0] ?? ""} `, "gm"))).toHaveLength(
      line.startsWith("credential_process") ? 2 : 1,
    );
    expect(got()).toMatch(new RegExp(`\\[profile other\\]\n${line.split(" ")[0] ?? ""} = `));
  });

  test("an earlier rolecall's line is ours to replace", async () => {
    put(
      config,
      '[profile rolecall]\ncredential_process = "/old/node" "/old/rolecall.mjs" credentials --broker https://x.example\n',
    );
    expect(await machine.run(configure())).toMatchObject({ code: 0 });
    expect(got()).toBe(`[profile rolecall]\n${LINE}\n`);
  });

  test("keys in ~/.aws/credentials and in the environment: a warning, and that file is never written", async () => {
    const shared = join(machine.home, ".aws", "credentials");
    put(shared, "[rolecall]\naws_access_key_id = AKIAEXAMPLE\n");
    const run = await machine.run(configure(), { AWS_ACCESS_KEY_ID: "AKIAEXAMPLE" });
    expect(run.code).toBe(0);
    expect(run.stderr).toMatch(/warning: .*credentials has keys for \[rolecall\]/);
    expect(run.stderr).toContain("warning: AWS_ACCESS_KEY_ID is set");
    expect(got(shared)).toBe("[rolecall]\naws_access_key_id = AKIAEXAMPLE\n");
  });

  test("a profile that stands there twice is refused", async () => {
    put(config, "[profile rolecall]\n[default]\n[profile rolecall]\n");
    const run = await machine.run(configure());
    expect(run).toMatchObject({ code: 1 });
    expect(run.stderr).toContain("more than once");
  });
});

describe("what can't be done", () => {
  const usage: [name: string, args: string[]][] = [
    ["a profile with a bracket", ["--profile", "a]b"]],
    ["a profile with a newline", ["--profile", "a\n[default]"]],
    ["a profile with a space", ["--profile", "a b"]],
    ["a region that is none", ["--region", "us-east-1\nrole_arn = x"]],
  ];
  test.each(usage)("%s: wrong usage", async (_name, args) => {
    expect(await machine.run(configure(...args))).toMatchObject({ code: 2, stdout: "" });
    expect(existsSync(config)).toBe(false);
  });

  test("a config file that is a folder: says so, and leaves it", async () => {
    mkdirSync(config, { recursive: true });
    const run = await machine.run(configure());
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toContain("EISDIR");
    rmSync(config, { recursive: true });
  });
});
