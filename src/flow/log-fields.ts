import { describeError } from "./error-line.ts";
import { inert, unrecognizable } from "./printable.ts";

/** Whatever a log line can hold is text, a number, or made of these. */
type Logged = string | number | readonly Logged[] | { readonly [name: string]: Logged | undefined };

/** A value as it may stand in the log; undefined: it is left out. */
type Form<T> = (value: T) => Logged | undefined;

/** Longer texts are cut: a line is read by people, and paid for by the gigabyte. */
const SENTENCE_LENGTH = 500;

/** An ID or a code: the alphabet of UUIDs, digests, reason codes and header-safe names. Anything else is left out. */
const word: Form<string> = (value) => (/^[\w.:-]{1,128}$/.test(value) ? value : undefined);
const words: Form<readonly string[]> = (values) => values.slice(0, 50).flatMap((value) => word(value) ?? []);
const number: Form<number> = (value) => (Number.isFinite(value) ? value : undefined);
/** Text that our own code put together. */
const sentence: Form<string> = (value) => logMessage(value);
/** Text that a stranger chose, as far as a name or an address is long. */
const stranger: Form<string> = (value) => inert(value, 64);
/** One of our own route patterns. */
const pattern: Form<string> = (value) => (/^[\w/.:-]{1,128}$/.test(value) ? value : undefined);
const faults: Form<readonly { readonly path: string; readonly message: string }[]> = (values) =>
  values.slice(0, 50).map(({ path, message }) => ({ path: inert(path, 128), message: logMessage(message) }));
/** Signed, with line breaks that belong to it: JSON escapes them. */
const note: Form<string> = (value) => (/^[\n\x20-\x7e\u2014]{1,4096}$/.test(value) ? value : undefined);

/**
 * All that a log line can hold beside its sentence, with the form that each value is brought into. What is not in this
 * list reaches no log, so a new field is a decision: is it free of secrets, tokens, claims and people, whatever its
 * value, and as long as we can bear?
 */
const FIELDS = {
  // The request.
  requestId: word,
  method: word,
  route: pattern,
  status: number,
  /** Milliseconds. */
  ms: number,
  address: stranger,
  clientId: word,
  // What went wrong.
  code: word,
  reason: sentence,
  error: sentence,
  detail: sentence,
  err: (value: unknown) => describeError(value),
  attempt: number,
  stsRequestId: word,
  /** Kind of key in the store, not the key. */
  key: inertKey,
  // The broker itself.
  url: sentence,
  host: sentence,
  port: number,
  seconds: number,
  closed: number,
  checkpoint: note,
  mappingVersion: word,
  configSha256: word,
  /** A key's name and its states; the key itself is nobody's field. */
  use: word,
  kid: word,
  from: word,
  to: word,
  faults,
  fields: words,
} as const satisfies Record<string, Form<never>>;

/** The fields of one log line: those that {@link FIELDS} lists, and no others. */
export type LogFields = {
  readonly [Name in keyof typeof FIELDS]?: Parameters<(typeof FIELDS)[Name]>[0] | undefined;
};

/** `fields` as they may be written: unlisted ones are dropped, listed ones bounded and printable. Never throws. */
export function loggable(fields: LogFields): Record<string, Logged> {
  const line: Record<string, Logged> = {};
  for (const [name, form] of Object.entries(FIELDS) as [keyof LogFields, Form<unknown>][]) {
    const value = fields[name];
    if (value === undefined) continue;
    const logged = brought(form, value);
    if (logged !== undefined) line[name] = logged;
  }
  return line;
}

/** A sentence as it may be written: printable, no longer than 500 characters, nothing in it that looks like a secret. */
export function logMessage(text: string): string {
  return inert(unrecognizable(text.slice(0, 4 * SENTENCE_LENGTH)), SENTENCE_LENGTH);
}

function inertKey(value: string): string {
  return inert(value, 32);
}

/** Types hold only for what the compiler saw: a value of another kind must not take the request down with it. */
function brought(form: Form<unknown>, value: unknown): Logged | undefined {
  try {
    return form(value);
  } catch {
    return undefined;
  }
}
