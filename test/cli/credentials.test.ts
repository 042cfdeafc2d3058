import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Machine, type Run } from "../support/command-line.ts";
import { problem, startStubBroker, type StubBroker } from "../support/stub-broker.ts";

const CREDENTIALS = "/api/v1/credentials";
const TOKEN = "/oauth/token";

/** Access tokens of this one end within the spare minute: every call needs a refresh. */
let broker: StubBroker;
let machine: Machine;

beforeAll(async () => {
  broker = await startStubBroker({ accessTokenSeconds: 30 });
});
afterAll(() => broker.stop());
beforeEach(async () => {
  machine = new Machine();
  broker.canned.clear();
  broker.lifetimeSeconds = 3600;
  expect(await machine.signIn(broker.url)).toMatchObject({ code: 0 });
  broker.requests.length = 0;
});

function accessKeyOf(run: Run): string {
  const { AccessKeyId } = JSON.parse(run.stdout) as { AccessKeyId: string };
  return AccessKeyId;
}

function credentials(): Promise<Run> {
  return machine.run(["credentials", "--broker", broker.url]);
}

/** Credentials of an earlier call, ending in so many seconds. */
function keepCredentials(secondsLeft: number): void {
  const Expiration = new Date(Date.now() + secondsLeft * 1000).toISOString();
  const kept = { AccessKeyId: "ASIAKEPT", SecretAccessKey: "s", SessionToken: "t", Expiration };
  writeFileSync(machine.file("credentials.json"), JSON.stringify(kept), { mode: 0o600 });
}

describe("what stands on stdout", () => {
  test("one line with the five keys, an end without milliseconds, and nothing on stderr", async () => {
    const run = await credentials();
    expect(run).toMatchObject({ code: 0, stderr: "" });
    expect(run.stdout).toMatch(/^\{[^\n]*\}\n$/);
    const answer = JSON.parse(run.stdout) as Record<string, unknown>;
    expect(Object.keys(answer)).toEqual(["Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"]);
    expect(answer["Version"]).toBe(1);
    expect(answer["Expiration"]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  });

  test("the second call says the same, byte for byte, without a request", async () => {
    const first = await credentials();
    broker.requests.length = 0;
    expect(await credentials()).toEqual(first);
    expect(broker.requests).toEqual([]);
  });

  test("stdin is never read: an open pipe does not keep it", async () => {
    const command = machine.start(["credentials", "--broker", broker.url], {}, "pipe");
    expect(await command.done).toMatchObject({ code: 0, stderr: "" });
  });

  test("all forms of the command give the same", async () => {
    const { stdout } = await credentials();
    expect(await machine.run(["credentials"])).toMatchObject({ code: 0, stdout, stderr: "" });
    expect(await machine.run(["credentials", `--broker=${broker.url}/`])).toMatchObject({
      code: 0,
      stdout,
      stderr: "",
    });
  });

  test("no browser is ever opened", async () => {
    rmSync(machine.file("tokens.json"));
    rmSync(machine.pagesFile, { force: true });
    await credentials();
    expect(broker.count("/oauth/auth")).toBe(0);
  });
});

describe("the 15-minute rule", () => {
  const cases: [name: string, left: number, handedOut: string][] = [
    ["an hour left", 3600, "ASIAKEPT"],
    ["15 minutes and some left", 15 * 60 + 20, "ASIAKEPT"],
    ["just under 15 minutes left", 15 * 60 - 1, "ASIASTUB1"],
    ["a minute left", 60, "ASIASTUB1"],
    ["ended", -60, "ASIASTUB1"],
    ["an end that no session can have", 14 * 3600, "ASIASTUB1"],
  ];
  test.each(cases)("kept credentials with %s", async (_name, left, handedOut) => {
    keepCredentials(left);
    expect(accessKeyOf(await credentials())).toBe(handedOut);
  });

  test("less is handed out only where the broker gives no more", async () => {
    broker.lifetimeSeconds = 600;
    expect(accessKeyOf(await credentials())).toBe("ASIASTUB1");
    expect(accessKeyOf(await credentials())).toBe("ASIASTUB2");
  });
});

describe("many at once", () => {
  test("twenty processes and no cache: one refresh, one call, all served the same", async () => {
    const runs = await Promise.all(Array.from({ length: 20 }, credentials));
    expect(new Set(runs.map((run) => run.code))).toEqual(new Set([0]));
    expect(new Set(runs.map((run) => run.stderr))).toEqual(new Set([""]));
    expect(new Set(runs.map(accessKeyOf))).toEqual(new Set(["ASIASTUB1"]));
    expect([broker.count(TOKEN), broker.count(CREDENTIALS)]).toEqual([1, 1]);
  });

  test("eight processes and a broker that fails: one of them asks, all say why", async () => {
    broker.canned.set(CREDENTIALS, problem(503, "ledger_unavailable", "The record could not be written."));
    const held = broker.hold(CREDENTIALS);
    const first = machine.start(["credentials"]);
    await held.arrived;
    const others = Array.from({ length: 7 }, () => machine.start(["credentials"]));
    // Each of them waits for the lock once it runs; there is no sign of that to be seen from outside.
    await Promise.all(others.map((it) => waitsForLock(it.child.pid)));
    held.release();
    const runs = await Promise.all([first, ...others].map((it) => it.done));
    for (const run of runs) {
      expect(run).toMatchObject({ code: 1, stdout: "" });
      expect(run.stderr).toContain("The record could not be written.");
    }
    expect(broker.count(CREDENTIALS)).toBe(1);
  });

  test("killed while it holds the lock: the next one gets its credentials", async () => {
    const held = broker.hold(CREDENTIALS);
    const victim = machine.start(["credentials"]);
    await held.arrived;
    const waiting = machine.start(["credentials"]);
    victim.child.kill("SIGKILL");
    expect(await victim.done).toMatchObject({ signal: "SIGKILL", stdout: "" });
    expect(await waiting.done).toMatchObject({ code: 0, stderr: "" });
    held.release();
    expect(await credentials()).toMatchObject({ code: 0, stderr: "" });
  });

  test("killed at any moment of a refresh: afterwards it works, or says that a sign-in is needed", async () => {
    const held = broker.hold(TOKEN);
    const victim = machine.start(["credentials"]);
    await held.arrived;
    victim.child.kill("SIGKILL");
    await victim.done;
    held.release();
    const run = await credentials();
    if (run.code !== 0) expect(run.stderr).toMatch(/your sign-in has ended\nhint: run: rolecall login/);
    expect(await machine.signIn(broker.url)).toMatchObject({ code: 0 });
    expect(await credentials()).toMatchObject({ code: 0, stderr: "" });
  });
});

describe("not signed in, or no longer", () => {
  const hint = /^rolecall: [^\n]+\nhint: run: rolecall login --broker http:\S+\n$/;

  test("no sign-in: fails at once, without a request", async () => {
    rmSync(machine.file("tokens.json"));
    const run = await credentials();
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toMatch(hint);
    expect(broker.requests).toEqual([]);
  });

  test("a rejected refresh token: says what to do, and does not ask again", async () => {
    const tokens = JSON.parse(readFileSync(machine.file("tokens.json"), "utf8")) as object;
    const unknown = { ...tokens, refreshToken: "unknown" };
    writeFileSync(machine.file("tokens.json"), JSON.stringify(unknown), { mode: 0o600 });
    const first = await credentials();
    expect(first).toMatchObject({ code: 1, stdout: "" });
    expect(first.stderr).toMatch(hint);
    broker.requests.length = 0;
    expect((await credentials()).stderr).toMatch(hint);
    expect(broker.requests).toEqual([]);
  });

  test("a sign-in that the broker calls too old: its sentence, advice and request ID", async () => {
    broker.canned.set(CREDENTIALS, problem(401, "sign_in_expired", "Your sign-in is too old."));
    expect(await credentials()).toMatchObject({
      code: 1,
      stdout: "",
      stderr:
        "rolecall: Your sign-in is too old.\nreason: sign_in_expired\nrequest ID: req-1\n" +
        `hint: run: rolecall login --broker ${broker.url}\n`,
    });
  });

  test("an access token that the broker has forgotten is renewed once, and no more", async () => {
    const tokens = JSON.parse(readFileSync(machine.file("tokens.json"), "utf8")) as object;
    const forgotten = { ...tokens, accessToken: "forgotten", accessTokenEnds: Date.now() + 600_000 };
    writeFileSync(machine.file("tokens.json"), JSON.stringify(forgotten), { mode: 0o600 });
    expect(await credentials()).toMatchObject({ code: 0, stderr: "" });
    expect([broker.count(TOKEN), broker.count(CREDENTIALS)]).toEqual([1, 2]);
    broker.canned.set(CREDENTIALS, problem(401, "token_invalid", "The access token is revoked."));
    rmSync(machine.file("credentials.json"));
    expect(await credentials()).toMatchObject({ code: 1, stdout: "" });
    expect([broker.count(TOKEN), broker.count(CREDENTIALS)]).toEqual([2, 3]);
  });
});

describe("the broker down", () => {
  const failures: [name: string, path: string, status: number, body: unknown][] = [
    ["the token endpoint fails", TOKEN, 500, "oops"],
    ["discovery fails", "/oauth/.well-known/openid-configuration", 503, "oops"],
    ["the API fails without a problem", CREDENTIALS, 502, "<html>bad gateway</html>"],
    ["the API sends no JSON", CREDENTIALS, 200, "<html>welcome to the hotel</html>"],
    ["the API sends half an answer", CREDENTIALS, 200, { Version: 1, AccessKeyId: "ASIAHALF" }],
    ["the API redirects", CREDENTIALS, 302, ""],
  ];
  test.each(failures)("%s: one clear failure, and the sign-in is kept", async (_name, path, status, body) => {
    broker.canned.set(path, { status, body, headers: { location: "http://127.0.0.1:9/" } });
    const run = await credentials();
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toMatch(/^rolecall: /);
    expect(run.stderr).not.toContain("ASIAHALF");
    broker.canned.clear();
    expect(await credentials()).toMatchObject({ code: 0, stderr: "" });
  });

  test("nobody listens: fails, and works again once it is back", async () => {
    await broker.stop();
    const run = await credentials();
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toMatch(/did not answer \(ECONNREFUSED\)\nhint: /);
    await broker.start();
    expect(await credentials()).toMatchObject({ code: 0, stderr: "" });
  });

  test("what is kept and still valid is handed out, with a warning", async () => {
    keepCredentials(300);
    broker.canned.set(CREDENTIALS, problem(503, "store_unavailable", "Sign-ins could not be read."));
    const run = await credentials();
    expect(run.code).toBe(0);
    expect(accessKeyOf(run)).toBe("ASIAKEPT");
    expect(run.stderr).toMatch(/^rolecall: warning: Sign-ins could not be read\.; the credentials handed out end at /);
  });

  test("so it is where the failure itself can't be written down", async () => {
    keepCredentials(300);
    mkdirSync(machine.file("failure.json"));
    broker.canned.set(CREDENTIALS, problem(503, "store_unavailable", "Sign-ins could not be read."));
    const run = await credentials();
    expect(run.code).toBe(0);
    expect(accessKeyOf(run)).toBe("ASIAKEPT");
    expect(run.stderr).toContain("warning: Sign-ins could not be read.");
  });

  test("but not against the broker's word", async () => {
    keepCredentials(300);
    broker.canned.set(CREDENTIALS, problem(403, "tag_missing", "Your directory entry does not say."));
    expect(await credentials()).toMatchObject({ code: 1, stdout: "" });
  });
});

/** Resolves once the process holds its broker's lock file open, as it does from when it begins to wait. */
async function waitsForLock(pid: number | undefined): Promise<void> {
  const folder = `/proc/${pid ?? 0}/fd`;
  for (;;) {
    const open = readdirSync(folder).some((name) => {
      try {
        return readlinkSync(join(folder, name)).endsWith("refresh.lock");
      } catch {
        return false;
      }
    });
    if (open) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
