import { Refusal } from "./errors.ts";
import { inert, unrecognizable } from "./printable.ts";

/** An error as the log has it. */
export type ErrorLine = {
  /** Of its class. */
  readonly name: string;
  /** A reason code, SQLSTATE, `ECONNREFUSED` and the like. */
  readonly code?: string;
  /** Of a Refusal alone: other people's messages quote URLs with passwords, commands, rows, and what they could not parse. */
  readonly message?: string;
  /** Where it was thrown: places in the code, the innermost first. */
  readonly at?: readonly string[];
  readonly cause?: ErrorLine;
};

const MOST_CAUSES = 4;
const MOST_FRAMES = 12;

/** What `error` says without saying what it was about: class, code, place, and the same of its causes. */
export function describeError(error: unknown, depth = 0): ErrorLine {
  if (!(error instanceof Error)) return { name: `a thrown ${error === null ? "null" : typeof error}` };
  const code = codeOf(error);
  const refused = error instanceof Refusal;
  // A refusal is expected; what it was caused by may not be.
  const at = refused ? [] : framesOf(error);
  return {
    name: word(error.constructor.name) ?? "Error",
    ...(code !== undefined && { code }),
    ...(refused && { message: inert(unrecognizable(error.message), 500) }),
    ...(at.length > 0 && { at }),
    ...(error.cause !== undefined && depth < MOST_CAUSES && { cause: describeError(error.cause, depth + 1) }),
  };
}

function codeOf(error: Error): string | undefined {
  const code = "code" in error ? error.code : undefined;
  return typeof code === "string" || typeof code === "number" ? word(String(code)) : undefined;
}

function word(text: string): string | undefined {
  return /^[\w.-]{1,64}$/.test(text) ? text : undefined;
}

/** A line of V8's stack: a function's name, and a place in a file or in Node. */
const FRAME = /^ {4}at ((?:[\w.$#<>[\] ]{1,120} )?\(?(?:file:\/\/|node:|\/)[^\s?#()]{1,300}:\d+:\d+\)?)$/;

/** The stack begins with the message, whose lines could look like places; and a place can end in a query. */
function framesOf({ stack = "", message }: Error): string[] {
  const begin = message === "" ? 0 : stack.indexOf(message) + message.length;
  const lines = stack.slice(begin).split("\n");
  return lines.flatMap((line) => FRAME.exec(line.replace(/\?[^\s():]*/, ""))?.[1] ?? []).slice(0, MOST_FRAMES);
}
