import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { readFileSync, statSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { browserCommands } from "../../src/cli/browser.ts";
import { python } from "../support/botocore.ts";
import { Machine, PROGRAM } from "../support/command-line.ts";
import { startStubBroker, type StubBroker } from "../support/stub-broker.ts";

let broker: StubBroker;
let machine: Machine;

beforeAll(async () => {
  broker = await startStubBroker();
});
afterAll(() => broker.stop());
beforeEach(() => {
  machine = new Machine();
});

describe("proxies", () => {
  test("HTTPS_PROXY is asked for a broker elsewhere, and not for one on this machine", async () => {
    const asked: (string | undefined)[] = [];
    const proxy = createServer().on("connect", (req, socket) => {
      asked.push(req.url);
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    });
    await once(proxy.listen(0, "127.0.0.1"), "listening");
    const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const env = { HTTPS_PROXY: address, HTTP_PROXY: address };
    const elsewhere = await machine.run(["login", "--broker", "https://rolecall.acme.example"], env);
    expect(elsewhere).toMatchObject({ code: 1, stdout: "" });
    expect(asked).toEqual(["rolecall.acme.example:443"]);
    expect(await machine.signIn(broker.url, env)).toMatchObject({ code: 0 });
    expect(asked).toHaveLength(1);
    proxy.close();
  });

  test("a proxy's address that is none: says so", async () => {
    const run = await machine.run(["login", "--broker", broker.url], { HTTPS_PROXY: "not a proxy" });
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toContain("HTTPS_PROXY or HTTP_PROXY is not a proxy's address");
  });
});

test("a failure is said on the terminal too, in one line, where stderr goes elsewhere", () => {
  const program = `
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    nowhere = os.open("/dev/null", os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.execv("${process.execPath}", ["node", "${PROGRAM}", "credentials", "--broker", "https://rolecall.acme.example"])
seen = b""
while True:
    try:
        part = os.read(terminal, 4096)
    except OSError:
        break
    if not part:
        break
    seen += part
os.waitpid(pid, 0)
sys.stdout.write(seen.decode())`;
  expect(python(program, "", machine.env).replace("\r\n", "\n")).toBe(
    "rolecall: you are not signed in at https://rolecall.acme.example " +
      "(run: rolecall login --broker https://rolecall.acme.example)\n",
  );
});

describe("which browser", () => {
  const url = "http://127.0.0.1:4400/oauth/auth?a=1&b=%20$(id)";
  const cases: [name: string, platform: NodeJS.Platform, env: NodeJS.ProcessEnv, commands: string[][]][] = [
    ["Linux with a display", "linux", { DISPLAY: ":0" }, [["xdg-open", url]]],
    ["Linux with Wayland", "linux", { WAYLAND_DISPLAY: "wayland-0" }, [["xdg-open", url]]],
    ["Linux without either", "linux", {}, []],
    ["macOS", "darwin", {}, [["open", url]]],
    ["Windows", "win32", {}, [["rundll32.exe", "url.dll,FileProtocolHandler", url]]],
    [
      "WSL",
      "linux",
      { WSL_DISTRO_NAME: "Debian" },
      [
        ["wslview", url],
        ["/mnt/c/Windows/System32/rundll32.exe", "url.dll,FileProtocolHandler", url],
        ["xdg-open", url],
      ],
    ],
    ["BROWSER", "linux", { BROWSER: "firefox" }, [["firefox", url]]],
    [
      "BROWSER, a list, with arguments and %s",
      "linux",
      { BROWSER: "a --new %s:b -x" },
      [
        ["a", "--new", url],
        ["b", "-x", url],
      ],
    ],
    ["BROWSER, a path with a drive", "win32", { BROWSER: "C:\\firefox.exe" }, [["C:\\firefox.exe", url]]],
  ];
  test.each(cases)("%s", (_name, platform, env, commands) => {
    expect(browserCommands(url, env, platform)).toEqual(commands);
  });
});

describe("the built file", () => {
  test("can be run by its name, and is one file without the broker or the sandbox", async () => {
    expect(statSync(PROGRAM).mode & 0o111).toBe(0o111);
    const text = readFileSync(PROGRAM, "utf8");
    expect(text.startsWith("#!/usr/bin/env node\n")).toBe(true);
    expect(/oidc-provider|express|ioredis|client-sts|sandbox/.exec(text)?.[0]).toBeUndefined();
    // Nothing is loaded before it is asked for, Node's own modules included.
    expect(/^import\b.*\bfrom\b.*$/m.exec(text)?.[0]).toBeUndefined();
    expect(await machine.run(["--version"])).toMatchObject({ code: 0, stderr: "" });
  });
});
