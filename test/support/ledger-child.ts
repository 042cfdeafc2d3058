import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { LedgerPlace } from "../../src/ledger/place.ts";
import { CHECKPOINT_KEY } from "./ledger.ts";

const SCRIPT = fileURLToPath(new URL("../ledger/child.ts", import.meta.url));

export interface LedgerChild {
  /** Lines that it says after "ready", parsed. */
  readonly lines: AsyncIterator<unknown>;
  /** The starting shot. */
  go(): void;
  /** kill -9, and waits until it is gone. */
  kill(): Promise<void>;
}

/** A process of its own with the ledger at `place`, doing `job` of test/ledger/child.ts; resolves once it is ready. */
export async function startChild(place: LedgerPlace, job: string, ...args: string[]): Promise<LedgerChild> {
  const where = "url" in place ? place.url : place.file;
  const key = CHECKPOINT_KEY.privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", SCRIPT, where, key, job, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exit = once(child, "exit");
  const lines = parsed(createInterface({ input: child.stdout }));
  const first = await lines.next();
  if (first.value !== "ready") throw new Error("the child did not start");
  return {
    lines,
    go: () => void child.stdin.write("go\n"),
    kill: async () => {
      child.kill("SIGKILL");
      await exit;
    },
  };
}

async function* parsed(lines: AsyncIterable<string>): AsyncGenerator {
  for await (const line of lines) yield JSON.parse(line) as unknown;
}
