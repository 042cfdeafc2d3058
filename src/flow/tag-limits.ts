/** What AWS takes as a session tag (AWS STS API reference, type Tag; IAM user guide, "Tags for IAM resources"). */

/** Letters, separators, digits and `_.:/=+-@`. */
const TAG_CHARACTERS = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;
const MAX_KEY = 128;
const MAX_VALUE = 256;
export const MAX_TAGS = 50;

/**
 * AWS packs tags into a binary form of undocumented size; captures put 100 % near 460 bytes, counting key + value
 * + about 8 a tag. A mapping whose worst case passes this bound is refused before anybody meets the limit.
 */
export const MAX_PACKED_BYTES = 400;
const PACKED_BYTES_PER_TAG = 8;

/** The longest value of a tag without a list, a byte a character: what a mapping's worst case counts. */
export const OPEN_VALUE_BYTES = MAX_VALUE;

/** Estimate of what one tag takes of AWS's packed size, in bytes. */
export function packedBytes(key: string, valueBytes: number): number {
  return Buffer.byteLength(key) + valueBytes + PACKED_BYTES_PER_TAG;
}

/** What is wrong with a tag's key; undefined: nothing. */
export function keyProblem(key: string): string | undefined {
  if (key.length === 0 || key.length > MAX_KEY) return `must have 1 to ${MAX_KEY} characters`;
  return textProblem(key);
}

/** What is wrong with a tag's value as AWS sees it; undefined: nothing. Stricter than AWS about spaces at the ends. */
export function valueProblem(value: string): string | undefined {
  if (value.length === 0) return "is empty";
  if (value.length > MAX_VALUE) return `has more than ${MAX_VALUE} characters`;
  return textProblem(value);
}

/**
 * What is wrong with a value that no allowed list names, on top of {@link valueProblem}: AWS would take it, but it
 * reads like another one (full-width letters, odd or invisible spaces, letters of two scripts in one word) or is a
 * formula to the spreadsheet that shows the bill. Undefined: nothing.
 */
export function unlistedProblem(value: string): string | undefined {
  if (value !== value.normalize("NFKC") || /(?! )\p{Z}|\p{Default_Ignorable_Code_Point}/u.test(value))
    return "has a character that only looks like a plain one, and no allowed list names it";
  if (/(?=\p{L}*\p{Script=Latin})\p{L}*[\p{Script=Cyrillic}\p{Script=Greek}]/u.test(value))
    return "mixes letters that look alike in one word, and no allowed list names it";
  if (/^[=+\-@]/.test(value)) return "begins with one of = + - @, and no allowed list names it";
  return undefined;
}

function textProblem(text: string): string | undefined {
  if (text !== text.trim()) return "begins or ends with a space";
  if (!text.isWellFormed() || !TAG_CHARACTERS.test(text))
    return "may hold letters, digits, spaces and _ . : / = + - @ only";
  if (text.toLowerCase().startsWith("aws:")) return 'must not begin with "aws:"';
  return undefined;
}
