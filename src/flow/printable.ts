/** Control and format characters (bidi marks, zero-width ones), line and paragraph separators, lone surrogates. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/**
 * `text` with everything escaped (`\u{1b}`) that could break a log line in two, move a terminal's cursor or turn the
 * order of letters around. For values that a stranger chose.
 */
export function printable(text: string): string {
  return text.replaceAll(UNPRINTABLE, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}

/** `text`, {@link printable} and cut to `length` characters. */
export function inert(text: string, length: number): string {
  return printable(text.slice(0, length));
}

/** A URL's user and password, and its query; JSON Web Tokens; credentials of a header; what is as long as a key. */
const SECRETS: readonly [RegExp, string][] = [
  [/\/\/[^/\s@]*@/g, "//…@"],
  [/(:\/\/[^\s?]*)\?\S*/g, "$1?…"],
  [/eyJ[\w-]+\.[\w.-]*/g, "…"],
  [/\b(bearer|basic|dpop)\s+[^\s,]+/gi, "$1 …"],
  [/[\w+=-]{40,}/g, "…"],
];

/**
 * `text` without what looks like a secret. Nothing relies on it: no text that reaches it is meant to hold one. It is for
 * the message that somebody will write some day.
 */
export function unrecognizable(text: string): string {
  return SECRETS.reduce((left, [secret, instead]) => left.replaceAll(secret, instead), text);
}
