import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { signInByCommandLine } from "../src/sandbox/once.ts";
import { startSandbox, type Sandbox } from "../src/sandbox/sandbox.ts";

const BROKER = fileURLToPath(new URL("../dist/broker.js", import.meta.url));

/** The sandbox around a built broker in a process of its own, and one employee who is signed in. */
export interface BenchCompany {
  readonly sandbox: Sandbox;
  readonly folder: string;
  /** ROLECALL_HOME of the employee. */
  readonly home: string;
  readonly accessToken: string;
  close(): Promise<void>;
}

export async function startCompany(): Promise<BenchCompany> {
  const folder = mkdtempSync(join(tmpdir(), "rolecall-bench-"));
  const home = join(folder, "home");
  const sandbox = await startSandbox({
    folder,
    ports: { broker: 0, aws: 0, okta: 0, entra: 0, auth0: 0 },
    log: pino({ level: "silent" }),
    start: (_config, _log, configFile) => serve(configFile),
  });
  const provider = sandbox.providers[0];
  const person = provider?.people[0];
  if (!provider || !person) throw new Error("the sandbox has nobody");
  await signInByCommandLine(sandbox, home, provider, person);
  const [broker = ""] = readdirSync(home, { withFileTypes: true }).flatMap((it) => (it.isDirectory() ? [it.name] : []));
  const tokens = JSON.parse(readFileSync(join(home, broker, "tokens.json"), "utf8")) as { accessToken: string };
  return {
    sandbox,
    folder,
    home,
    accessToken: tokens.accessToken,
    async close() {
      await sandbox.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function serve(configFile: string): Promise<{ close(): Promise<void> }> {
  const child = spawn(process.execPath, [BROKER, "serve", "--config", configFile], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  for await (const chunk of child.stdout.setEncoding("utf8")) {
    if (String(chunk).includes('"listening"')) break;
  }
  child.stdout.resume();
  return {
    async close() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}
