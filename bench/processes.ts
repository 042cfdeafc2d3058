import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** A server in a process of its own. */
export interface ServerProcess {
  readonly url: string;
  readonly pid: number;
  /** Milliseconds from its start until it said its address. */
  readonly startedIn: number;
  close(): Promise<void>;
}

const BROKER = fileURLToPath(new URL("../dist/broker.js", import.meta.url));

/** The core of what is measured; everything else (load, Redis, stand-ins) runs on the other one. */
const MEASURED_CORE = "0";
const OTHER_CORE = "1";

/** Moves this process, with all that it starts from now on, off the measured core. */
export function leaveMeasuredCore(): void {
  execFileSync("taskset", ["-a", "-c", "-p", OTHER_CORE, String(process.pid)], { stdio: "ignore" });
}

/** Gives this process, and all that it starts from now on, every core. */
export function useAllCores(): void {
  execFileSync("taskset", ["-a", "-c", "-p", `${MEASURED_CORE},${OTHER_CORE}`, String(process.pid)], {
    stdio: "ignore",
  });
}

/** The built broker with this configuration. `core`: the measured one, or wherever this process may run. */
export async function startBroker(configFile: string, core: "measured" | "any" = "measured"): Promise<ServerProcess> {
  const args = [...nodeFlags(), BROKER, "serve", "--config", configFile];
  return await start(args, core, (line) => {
    const { msg, port } = JSON.parse(line) as { msg?: string; port?: number };
    return msg === "listening" ? `http://127.0.0.1:${port}` : undefined;
  });
}

/** A script beside this file, which prints its address as its first line; `input` reaches it as its argument. */
export async function startScript(script: string, input: object, core: "measured" | "any"): Promise<ServerProcess> {
  const file = fileURLToPath(new URL(script, import.meta.url));
  return await start([file, JSON.stringify(input)], core, (line) => line);
}

/** Resident memory of a process in megabytes (10^6 bytes). */
export function residentMegabytes(pid: number): number {
  const [, kilobytes = "0"] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(((Number(kilobytes) * 1024) / 1e6).toFixed(1));
}

/** Processor time that a process has taken with all its threads (microseconds), to a hundredth of a second. */
export function cpuMicroseconds(pid: number): number {
  // After the name, which may hold anything (proc_pid_stat(5)): utime and stime, in ticks of 10 ms.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** As the image runs it (Dockerfile); for looking closer: `BENCH_NODE_FLAGS="--cpu-prof --cpu-prof-dir=/tmp/prof"`. */
function nodeFlags(): string[] {
  const more = process.env["BENCH_NODE_FLAGS"];
  return ["--max-semi-space-size=16", "--max-old-space-size=512", ...(more === undefined ? [] : more.split(" "))];
}

async function start(
  args: readonly string[],
  core: "measured" | "any",
  addressIn: (line: string) => string | undefined,
): Promise<ServerProcess> {
  const begun = performance.now();
  const command = core === "measured" ? ["taskset", "-c", MEASURED_CORE, process.execPath] : [process.execPath];
  const [program = "", ...before] = command;
  const child = spawn(program, [...before, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  const url = await firstAddress(child, addressIn);
  return {
    url,
    pid: child.pid ?? 0,
    startedIn: performance.now() - begun,
    async close() {
      child.kill("SIGTERM");
      await exited;
      process.off("exit", kill);
    },
  };
}

/** Reads to the end of the process's life: a log that nobody reads would pile up in it. */
function firstAddress(
  child: ChildProcess & { stdout: NodeJS.ReadableStream },
  addressIn: (line: string) => string | undefined,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let said: string | undefined = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      if (said === undefined) return;
      said += chunk;
      const lines = said.split("\n").slice(0, -1);
      const address = lines.map(addressIn).find((found) => found !== undefined);
      if (address === undefined) return;
      said = undefined;
      resolve(address);
    });
    child.once("exit", () => {
      reject(new Error(`a process that is measured did not start:\n${said}`));
    });
  });
}
