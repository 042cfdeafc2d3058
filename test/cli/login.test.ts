import { connect } from "node:net";
import { once } from "node:events";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Machine } from "../support/command-line.ts";
import { visit } from "../support/headless-browser.ts";
import { problem, startStubBroker, type StubBroker } from "../support/stub-broker.ts";

let broker: StubBroker;
let machine: Machine;

beforeAll(async () => {
  broker = await startStubBroker();
});
afterAll(() => broker.stop());
beforeEach(() => {
  machine = new Machine();
  broker.requests.length = 0;
  broker.canned.clear();
  broker.approves = true;
});

const login = (...more: string[]): string[] => ["login", "--broker", broker.url, ...more];

describe("the happy way", () => {
  test("opens the browser, says who, keeps the sign-in, and shows a closing page", async () => {
    const run = await machine.run(login());
    expect(run).toMatchObject({ code: 0 });
    expect(run.stdout).toContain("jane@acme.example");
    expect(run.stdout).toMatch(/tag team: +search {2}\(claim department, rule 2\)/);
    expect(run.stdout).toMatch(/sign-in ends: +2026-11-22T21:00:00Z/);
    expect(run.stderr).toContain(`${broker.url}/oauth/auth?`);
    const page = (await machine.pages()).at(-1);
    expect(page).toMatchObject({
      status: 200,
      headers: { "cache-control": "no-store", "referrer-policy": "no-referrer" },
    });
    expect(page?.headers["content-security-policy"]).toMatch(/^default-src 'none'; style-src 'sha256-/);
    expect(page?.body).toContain("You can close this page");
    expect(page?.body).not.toMatch(/<script|https?:/);
  });

  test("files are 0600 in a folder of 0700, and hold no code or verifier", async () => {
    await machine.signIn(broker.url);
    expect(statSync(machine.file("tokens.json")).mode & 0o777).toBe(0o600);
    expect(statSync(machine.file("..")).mode & 0o777).toBe(0o700);
    expect(statSync(machine.file(".")).mode & 0o777).toBe(0o700);
    const kept = JSON.parse(readFileSync(machine.file("tokens.json"), "utf8")) as object;
    expect(Object.keys(kept).sort()).toEqual(["accessToken", "accessTokenEnds", "refreshToken", "signedInAt"]);
  });

  test("without a browser the address is printed, and opening it by hand works", async () => {
    const command = machine.start(login("--no-browser"));
    await visit(await command.address());
    expect(await command.done).toMatchObject({ code: 0 });
  });

  test("a BROWSER that cannot be started is no obstacle", async () => {
    const command = machine.start(login(), { BROWSER: "/nowhere/browser" });
    await visit(await command.address());
    expect(await command.done).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("Open this address") as string,
    });
  });

  test("the broker is remembered, and ROLECALL_BROKER and --broker win over that", async () => {
    await machine.signIn(broker.url);
    expect(await machine.run(["whoami"])).toMatchObject({ code: 0 });
    const elsewhere = await machine.run(["whoami"], { ROLECALL_BROKER: "https://other.acme.example" });
    expect(elsewhere.stderr).toContain("not signed in at https://other.acme.example");
    const flag = await machine.run(["whoami", "--broker", broker.url], {
      ROLECALL_BROKER: "https://other.acme.example",
    });
    expect(flag).toMatchObject({ code: 0 });
  });

  test("another person's credentials do not outlive a new sign-in", async () => {
    await machine.signIn(broker.url);
    await machine.run(["credentials"]);
    await machine.signIn(broker.url);
    await machine.run(["credentials"]);
    expect(broker.count("/api/v1/credentials")).toBe(2);
  });
});

describe("what comes to the loopback address", () => {
  const cases: [name: string, path: (state: string) => string, status: number][] = [
    ["another path", () => "/", 404],
    ["no state", () => "/callback?code=c", 400],
    ["another state", () => "/callback?code=c&state=guessed", 400],
    ["another state, with an error", () => "/callback?error=access_denied&state=guessed", 400],
  ];
  test("anything else is turned away, and the sign-in still completes", async () => {
    const command = machine.start(login("--no-browser"));
    const address = await command.address();
    const { origin } = new URL(new URL(address).searchParams.get("redirect_uri") ?? "");
    const state = new URL(address).searchParams.get("state") ?? "";
    for (const [name, path, status] of cases) {
      expect((await fetch(origin + path(state))).status, name).toBe(status);
    }
    expect((await fetch(`${origin}/callback?state=${state}&code=c`, { method: "POST" })).status).toBe(404);
    expect(await rawStatus(origin, `/callback?state=${state}&code=c`, "evil.example")).toBe(404);
    await visit(address);
    expect(await command.done).toMatchObject({ code: 0 });
  });

  const answers: [name: string, query: (state: string) => Record<string, string>, says: RegExp][] = [
    ["another issuer", (state) => ({ state, code: "c", iss: "https://evil.example/oauth" }), /another server/],
    ["no issuer", (state) => ({ state, code: "c" }), /another server/],
    ["a made-up code", (state) => ({ state, code: "c", iss: `${broker.url}/oauth` }), /sign-in has ended|refused/],
  ];
  test.each(answers)("%s: refused, without a word of the code", async (_name, query, says) => {
    const command = machine.start(login("--no-browser"));
    const parameters = new URL(await command.address()).searchParams;
    const answer = new URLSearchParams(query(parameters.get("state") ?? ""));
    const page = await fetch(`${parameters.get("redirect_uri") ?? ""}?${answer.toString()}`);
    expect(page.status).toBe(400);
    expect(await page.text()).toContain("The sign-in did not work");
    const run = await command.done;
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toMatch(says);
    expect(run.stderr).toContain("hint: ");
  });

  test("only 127.0.0.1 listens", async () => {
    const command = machine.start(login("--no-browser"));
    const redirect = new URL(new URL(await command.address()).searchParams.get("redirect_uri") ?? "");
    expect(redirect.hostname).toBe("127.0.0.1");
    await expect(once(connect(Number(redirect.port), "127.0.0.2"), "connect")).rejects.toThrow();
    command.child.kill("SIGINT");
    await command.done;
  });
});

describe("when it does not work", () => {
  test("declined: says so, printing nothing that a terminal obeys", async () => {
    broker.approves = false;
    const run = await machine.run(login());
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toContain("the sign-in was declined");
    expect(run.stderr).not.toContain("\u001b");
    expect((await machine.pages()).at(-1)?.status).toBe(400);
  });

  test("nobody comes: ends by itself with a clear line", async () => {
    const run = await machine.run(login("--no-browser", "--timeout", "1"));
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toContain("nobody signed in within 1 seconds");
  });

  test.each(["SIGINT", "SIGTERM"] as const)("%s cancels cleanly", async (signal) => {
    const command = machine.start(login("--no-browser"));
    await command.said("Waiting for you");
    command.child.kill(signal);
    const run = await command.done;
    expect(run).toMatchObject({ code: 1, signal: null });
    expect(run.stderr).toContain("the sign-in was cancelled");
  });

  test("the broker is down", async () => {
    const gone = await startStubBroker();
    await gone.stop();
    const run = await machine.run(["login", "--broker", gone.url]);
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toMatch(/did not answer \(ECONNREFUSED\)[^]*hint: /);
  });

  test("the address is no broker's", async () => {
    broker.canned.set("/oauth/.well-known/openid-configuration", { status: 404, body: "not here" });
    expect((await machine.run(login())).stderr).toContain("no Rolecall broker answers at");
  });

  test("metadata that send codes and tokens elsewhere are not followed", async () => {
    const path = "/oauth/.well-known/openid-configuration";
    const metadata = (await (await fetch(broker.url + path)).json()) as object;
    broker.canned.set(path, { status: 200, body: { ...metadata, token_endpoint: "http://127.0.0.1:9/token" } });
    expect((await machine.run(login())).stderr).toContain("names an OAuth endpoint at another address");
  });

  test("signed in, but refused: the sentence, the reason and the request ID", async () => {
    broker.canned.set("/api/v1/whoami", problem(403, "tag_missing", "Your directory entry does not say it."));
    const run = await machine.run(login());
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toContain("rolecall: Your directory entry does not say it.");
    expect(run.stderr).toContain("reason: tag_missing\nrequest ID: req-1\nhint: What to do.\n");
  });
});

describe("two logins at once", () => {
  test("one browser: the second waits for the first and shares what it got", async () => {
    const first = machine.start(login("--no-browser"));
    await first.said("Waiting for you");
    const second = machine.start(login());
    await second.said("another rolecall login is under way");
    await visit(await first.address());
    expect(await first.done).toMatchObject({ code: 0 });
    const run = await second.done;
    expect(run).toMatchObject({ code: 0, stdout: expect.stringContaining("jane@acme.example") as string });
    expect(broker.count("/oauth/auth")).toBe(1);
  });

  test("the first is killed: the second says that there is no sign-in", async () => {
    const first = machine.start(login("--no-browser"));
    await first.said("Waiting for you");
    const second = machine.start(login());
    await second.said("another rolecall login is under way");
    first.child.kill("SIGKILL");
    const run = await second.done;
    expect(run).toMatchObject({ code: 1 });
    expect(run.stderr).toContain("ended without a sign-in");
  });
});

describe("usage", () => {
  const cases: [name: string, args: string[], says: string][] = [
    [
      "plain http to another machine",
      ["login", "--broker", "http://rolecall.acme.example"],
      "must begin with https://",
    ],
    [
      "http to what only looks like this machine",
      ["login", "--broker", "http://127.0.0.1.evil.example"],
      "must begin with",
    ],
    ["no URL", ["login", "--broker", "rolecall.acme.example"], "is not a URL"],
    ["a password in it", ["login", "--broker", "https://a:b@rolecall.acme.example"], "must not hold a user name"],
    ["a query", ["login", "--broker", "https://rolecall.acme.example?x=1"], "must not hold a query"],
    ["no broker known", ["login"], "no broker is known"],
    ["an unknown command", ["logon"], "unknown command"],
    ["an unknown option", ["login", "--team", "search"], "unknown option"],
    ["a time limit that is none", ["login", "--timeout", "soon"], "--timeout"],
    ["too many words", ["whoami", "jane"], "too many arguments"],
  ];
  test.each(cases)("%s: exit code 2, and why on stderr", async (_name, args, says) => {
    const run = await machine.run(args);
    expect(run).toMatchObject({ code: 2, stdout: "" });
    expect(run.stderr).toContain(says);
  });

  test("--help shows examples, --version the version: on stdout, exit code 0", async () => {
    for (const command of ["login", "credentials", "configure", "whoami", "logout"]) {
      const run = await machine.run([command, "--help"]);
      expect(run, command).toMatchObject({ code: 0, stderr: "" });
      expect(run.stdout, command).toContain("Example");
    }
    expect(await machine.run(["--version"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string,
    });
  });

  test("settings that are damaged are ignored with a warning", async () => {
    await machine.signIn(broker.url);
    writeFileSync(join(machine.home, ".rolecall", "settings.json"), '{"broker":');
    const run = await machine.run(["whoami"]);
    expect(run).toMatchObject({ code: 2 });
    expect(run.stderr).toMatch(/settings.json is ignored: it is damaged[^]*no broker is known/);
  });
});

/** The status of a GET with a Host header of the test's choosing. */
async function rawStatus(origin: string, path: string, host: string): Promise<number> {
  const socket = connect(Number(new URL(origin).port), "127.0.0.1");
  socket.end(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  const [head] = (await once(socket.setEncoding("utf8"), "data")) as [string];
  return Number(head.split(" ")[1]);
}
