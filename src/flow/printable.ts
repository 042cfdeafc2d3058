/** Control and format characters (bidi marks, zero-width ones), line and paragraph separators, lone surrogates. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/**
 * `text` with everything escaped (`\u{1b}`) that could break a log line in two, move a terminal's cursor or turn the
 * order of letters around. For values that a stranger chose.
 */
export function printable(text: string): string {
  return text.replaceAll(UNPRINTABLE, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}
