#!/usr/bin/env node
import { fileURLToPath } from "node:url";
import { CommandFailure } from "./cli/failure.ts";
import { sayFailure } from "./cli/terminal.ts";

/** The employees' command line: parses, and runs one command. */

try {
  await run(process.argv.slice(2));
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

async function run(args: readonly string[]): Promise<void> {
  const [command, flag, broker, ...more] = args;
  // The line that profiles hold, run by every program that signs a request: spared the loading of a parser.
  if (command === "credentials" && flag === "--broker" && broker !== undefined && more.length === 0) {
    const { credentials } = await import("./cli/credentials.ts");
    await credentials({ broker });
    return;
  }
  const { commandLine } = await import("./cli/program.ts");
  await commandLine(fileURLToPath(import.meta.url)).parseAsync(args, { from: "user" });
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommandFailure) {
    sayFailure(error);
    return error.exitCode;
  }
  // commander has said it already; help and version are errors of exit code 0 to it.
  if (error instanceof Error && error.name === "CommanderError" && "exitCode" in error) {
    return error.exitCode === 0 ? 0 : 2;
  }
  sayFailure(unexpected(error));
  return 1;
}

/** A fault of this program. The name of the error is safe to show; its message might hold anything. */
function unexpected(error: unknown): CommandFailure {
  return new CommandFailure(
    `something went wrong inside rolecall (${error instanceof Error ? error.name : "unknown"})`,
    {
      hint: "tell the people who run Rolecall, with the command and what rolecall --version prints",
      cause: error,
    },
  );
}
