import { closeSync, openSync, writeSync } from "node:fs";
import { printable } from "../flow/printable.ts";
import type { CommandFailure } from "./failure.ts";

/** One line of progress, warning or advice, on stderr; stdout is for results only. */
export function say(line: string): void {
  process.stderr.write(`${printable(line)}\n`);
}

/** One line of a result, on stdout. */
export function print(line: string): void {
  process.stdout.write(`${printable(line)}\n`);
}

/** The lines that tell of a failure: the sentence, its details, and the fix on a line of its own. */
function failureLines(failure: CommandFailure): string[] {
  const hint = failure.hint === undefined ? [] : [`hint: ${failure.hint}`];
  return [`rolecall: ${failure.message}`, ...failure.details, ...hint];
}

export function sayFailure(failure: CommandFailure): void {
  for (const line of failureLines(failure)) say(line);
}

/**
 * The failure in one line on the terminal itself, where there is one and stderr is not it: several SDKs throw the
 * stderr of a credential_process away.
 */
export function tellTerminal(failure: CommandFailure): void {
  if (process.stderr.isTTY || process.platform === "win32") return;
  const hint = failure.hint === undefined ? "" : ` (${failure.hint})`;
  try {
    const terminal = openSync("/dev/tty", "w");
    writeSync(terminal, `${printable(`rolecall: ${failure.message}${hint}`)}\n`);
    closeSync(terminal);
  } catch {
    // No terminal: stderr has it.
  }
}
