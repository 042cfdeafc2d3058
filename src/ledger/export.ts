import type { LedgerEntry } from "./row.ts";

/** The columns of an export as CSV, in the order of the way of the data; a key without a column does not compile. */
const COLUMNS: Readonly<Record<keyof LedgerEntry, true>> = {
  seq: true,
  time: true,
  type: true,
  outcome: true,
  reason: true,
  requestId: true,
  provider: true,
  directory: true,
  subject: true,
  email: true,
  sessionName: true,
  claims: true,
  mappingVersion: true,
  trace: true,
  tags: true,
  roleArn: true,
  sessionArn: true,
  durationSeconds: true,
  expiration: true,
  federation: true,
  tokenId: true,
  tokenSha256: true,
  keyId: true,
  keyUse: true,
  keyFrom: true,
  keyTo: true,
  stsRequestId: true,
  accessKeyId: true,
  packedPolicySize: true,
  client: true,
  address: true,
  userAgent: true,
  actor: true,
  note: true,
  signInId: true,
  grantId: true,
  scope: true,
  former: true,
  configSha256: true,
  owner: true,
  revocation: true,
  checkpoint: true,
  personal: true,
};

/** Entries as JSON Lines: one object a line. */
export async function* asJsonLines(entries: AsyncIterable<LedgerEntry>): AsyncGenerator<string> {
  for await (const entry of entries) yield `${JSON.stringify(entry)}\n`;
}

/** Entries as CSV with a header line (RFC 4180); objects as JSON, nothing as an empty cell. */
export async function* asCsv(entries: AsyncIterable<LedgerEntry>): AsyncGenerator<string> {
  const columns = Object.keys(COLUMNS) as (keyof LedgerEntry)[];
  yield `${columns.join(",")}\r\n`;
  for await (const entry of entries) yield `${columns.map((column) => csvCell(entry[column])).join(",")}\r\n`;
}

/**
 * One cell. Text that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, "CSV Injection"):
 * it begins with = + - @, tab, CR or NUL.
 */
function csvCell(value: unknown): string {
  if (value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const safe = /^[=+\-@\t\r\0]/.test(text) ? `'${text}` : text;
  return /["',\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
