import { readFileSync } from "node:fs";
import { CsvError, parse } from "csv-parse/sync";
import type { Config } from "../config/config.ts";
import { applyImport, planImport, type ImportFault, type ImportRow, type ImportStep } from "../flow/people-import.ts";
import { printable } from "../flow/printable.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { OperatorIo } from "./check.ts";
import { operatorName, UsageFault } from "./record.ts";

export interface PeopleImportOptions {
  /** CSV with a header line: directory, subject, email, and where it applies previousDirectory, previousSubject. */
  readonly file: string;
  /** Left out: it shows what it would do, and writes nothing. */
  readonly apply?: true;
  /** Needed to apply. */
  readonly reason?: string;
  readonly samePerson?: true;
  readonly json?: true;
}

/** `people import`. Exit codes: 0 done, or nothing wrong; 1 a line has a fault, and nothing was written. */
export async function peopleImport(
  ledger: Ledger,
  { providers }: Pick<Config, "providers">,
  options: PeopleImportOptions,
  io: OperatorIo,
): Promise<number> {
  const { apply = false, reason, json } = options;
  if (apply && reason === undefined) throw new UsageFault("--apply needs --reason, for the record");
  const rows = readRows(options.file);
  const directories = providers.map(({ directory }) => directory);
  const settings = { directories, samePerson: options.samePerson === true };
  const { steps, faults } = planImport(rows, await ledger.people(), settings);
  if (faults.length > 0) return complain(options, faults, io);
  if (apply) await applyImport(ledger, steps, { actor: operatorName(io.env), note: reason ?? "" });
  const count = (action: ImportStep["action"]): number => steps.filter((step) => step.action === action).length;
  const counts = { bind: count("bind"), move: count("move"), keep: count("keep") };
  if (json) io.out(`${JSON.stringify({ ok: true, applied: apply, ...counts })}\n`);
  else io.out(`${apply ? "" : steps.map(stepLine).join("")}${summary(counts, apply)}`);
  return 0;
}

const REQUIRED = ["directory", "subject", "email"];
const COLUMNS = [...REQUIRED, "previousDirectory", "previousSubject"];

/** Throws a {@link UsageFault} where the file can't be read, or isn't CSV with these columns. */
function readRows(file: string): ImportRow[] {
  try {
    const records = parse(readFileSync(file), {
      bom: true,
      columns: requireColumns,
      info: true,
      skip_empty_lines: true,
      trim: true,
    }) as unknown as { record: Record<string, string>; info: { lines: number } }[];
    return records.map(({ record, info }) => rowOf(record, info.lines));
  } catch (error) {
    if (error instanceof CsvError) throw new UsageFault(`${file} is not CSV: ${error.message}`);
    if (error instanceof Error && "code" in error)
      throw new UsageFault(`${file} can't be read (${String(error.code)})`);
    throw error;
  }
}

function requireColumns(header: string[]): string[] {
  const strange = header.find((column) => !COLUMNS.includes(column));
  const missing = REQUIRED.find((column) => !header.includes(column));
  if (strange === undefined && missing === undefined && new Set(header).size === header.length) return header;
  throw new UsageFault(`the header line must be ${REQUIRED.join(",")} or ${COLUMNS.join(",")}`);
}

function rowOf(record: Record<string, string>, line: number): ImportRow {
  const { directory = "", subject = "", email = "" } = record;
  const { previousDirectory = "", previousSubject = "" } = record;
  const none = previousDirectory === "" && previousSubject === "";
  const previous = none ? undefined : { directory: previousDirectory, subject: previousSubject };
  return { line, directory, subject, email, previous };
}

function complain({ file, json }: PeopleImportOptions, faults: readonly ImportFault[], io: OperatorIo): number {
  if (json) io.out(`${JSON.stringify({ ok: false, faults })}\n`);
  else io.err(faults.map(({ line, message }) => `${file}: line ${line} ${printable(message)}\n`).join(""));
  io.err(`${faults.length} ${faults.length === 1 ? "fault" : "faults"}: nothing was written\n`);
  return 1;
}

function stepLine({ line, action, sessionName, to, from }: ImportStep): string {
  const account = `${to.directory}/${to.subject}`;
  const before = from ? ` from ${from.directory}/${from.subject}, which is closed` : "";
  return `line ${line}: ${action} ${printable(`${sessionName} to ${account}${before}`)}\n`;
}

function summary({ bind, move, keep }: Record<ImportStep["action"], number>, applied: boolean): string {
  const what = `${bind} new, ${move} moved, ${keep} as they were\n`;
  return applied ? `written: ${what}` : `would be: ${what}hint: --apply --reason TEXT writes it\n`;
}
