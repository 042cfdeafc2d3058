import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { watch } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { visit, type VisitedPage } from "./headless-browser.ts";

/** The built file; `node scripts/build.ts cli` makes it. */
export const PROGRAM = fileURLToPath(new URL("../../dist/rolecall.mjs", import.meta.url));
const BROWSER = fileURLToPath(new URL("headless-browser.ts", import.meta.url));

export interface Run {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCommand {
  readonly child: ChildProcess;
  readonly done: Promise<Run>;
  /** Resolves once stderr holds `text`. */
  said(text: string): Promise<void>;
  /** The address that `login` prints, once it waits for the answer. */
  address(): Promise<string>;
}

/** One person's machine: a home of its own, nothing of this one's environment but PATH. */
export class Machine {
  readonly home = mkdtempSync(join(tmpdir(), "rolecall-cli-"));
  readonly pagesFile = join(this.home, "pages.json");
  readonly env: Record<string, string> = {
    PATH: process.env["PATH"] ?? "",
    HOME: this.home,
    BROWSER: `${process.execPath} ${BROWSER} ${this.pagesFile}`,
  };

  start(
    args: readonly string[],
    env: Record<string, string> = {},
    stdin: "ignore" | "pipe" = "ignore",
  ): RunningCommand {
    const child = spawn(process.execPath, [PROGRAM, ...args], {
      env: { ...this.env, ...env },
      cwd: this.home,
      stdio: [stdin, "pipe", "pipe"],
    });
    const out = { stdout: "", stderr: "" };
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (out.stdout += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (out.stderr += text));
    const done = new Promise<Run>((resolve) => {
      child.once("close", (code, signal) => {
        resolve({ code, signal, ...out });
      });
    });
    const said = (text: string): Promise<void> =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (out.stderr.includes(text)) resolve();
        };
        child.stderr?.on("data", look);
        child.once("close", () => {
          reject(new Error(`ended without saying ${text}: ${out.stderr}`));
        });
        look();
      });
    const address = async (): Promise<string> => {
      await said("Waiting for you");
      return /^ {2}(http\S+)$/m.exec(out.stderr)?.[1] ?? "";
    };
    return { child, done, said, address };
  }

  run(args: readonly string[], env: Record<string, string> = {}): Promise<Run> {
    return this.start(args, env).done;
  }

  /** A sign-in whose browser is in this process. */
  async signIn(broker: string, env: Record<string, string> = {}): Promise<Run> {
    const command = this.start(["login", "--no-browser", "--broker", broker], env);
    await visit(await command.address());
    return await command.done;
  }

  /** A file of the one broker that this machine knows. */
  file(name: string): string {
    const [folder] = readdirSync(join(this.home, ".rolecall"), { withFileTypes: true }).filter((it) =>
      it.isDirectory(),
    );
    if (folder === undefined) throw new Error("no broker is known here");
    return join(this.home, ".rolecall", folder.name, name);
  }

  /** The pages that the browser came by in the first sign-in, once it has seen the last of them. */
  async pages(): Promise<VisitedPage[]> {
    const stop = new AbortController();
    const changes = watch(this.home, { signal: stop.signal });
    while (!existsSync(this.pagesFile)) await changes[Symbol.asyncIterator]().next();
    stop.abort();
    return JSON.parse(readFileSync(this.pagesFile, "utf8")) as VisitedPage[];
  }
}
