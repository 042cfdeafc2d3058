import { readFile } from "node:fs/promises";
import { printable } from "../flow/printable.ts";
import { parseVerifierKey, type CheckpointVerifier } from "../ledger/checkpoint.ts";
import { asCsv, asJsonLines } from "../ledger/export.ts";
import { followEntries, readEntries } from "../ledger/log-reader.ts";
import { readLedger, type LedgerPlace } from "../ledger/place.ts";
import type { LedgerEntry } from "../ledger/row.ts";
import type { LedgerReader } from "../ledger/tables.ts";
import { VerifyFailure, verifyLog, type VerifyOptions, type VerifyReport } from "../ledger/verify.ts";

/** Where an operator's command writes; `signal` ends what would go on for ever. */
export interface AuditIo {
  /** Resolves when more may be written. */
  readonly out: (text: string) => void | Promise<void>;
  readonly err: (text: string) => void | Promise<void>;
  readonly signal?: AbortSignal;
}

export interface AuditVerifyOptions {
  readonly ledger: LedgerPlace;
  /** A verifier key as in C2SP signed-note (`name+ID+key`), or where the key is had; without: signatures aren't checked. */
  readonly checkpointPublicKey?: string | CheckpointVerifier | (() => Promise<CheckpointVerifier>);
  /** Files, each a signed note that was kept elsewhere. */
  readonly checkpointFiles?: readonly string[];
  readonly json?: boolean;
}

/** Progress is told once a second, so not at all where it is soon over (milliseconds). */
const PROGRESS_EVERY = 1000;

/** `audit verify`. Resolves with the exit code: 0 consistent, 1 not, 2 a file or key that was named is none. */
export async function auditVerify(options: AuditVerifyOptions, io: AuditIo): Promise<number> {
  const given = async (): Promise<VerifyOptions> => ({
    verifier: await readVerifier(options.checkpointPublicKey),
    checkpoints: await Promise.all((options.checkpointFiles ?? []).map((file) => readFile(file, "utf8"))),
  });
  return withLedger(options.ledger, io, given, async (db, checked) => {
    try {
      const report = await verifyLog(db, { ...checked, progress: tellProgress(io) });
      await io.out(options.json ? `${JSON.stringify({ ok: true, ...report })}\n` : describe(report, checked.verifier));
      return 0;
    } catch (error) {
      if (!(options.json && error instanceof VerifyFailure)) throw error;
      await io.out(`${JSON.stringify({ ok: false, seq: error.seq, problem: error.message })}\n`);
      return 1;
    }
  });
}

export interface AuditExportOptions {
  readonly ledger: LedgerPlace;
  /** Default: jsonl. */
  readonly format?: "jsonl" | "csv";
}

/** `audit export`: every entry with its personal data, oldest first. Exit codes: 0 done, 1 failed, 2 no ledger there. */
export async function auditExport({ ledger, format }: AuditExportOptions, io: AuditIo): Promise<number> {
  return withLedger(ledger, io, nothing, async (db) => {
    const entries = readEntries(db);
    for await (const text of format === "csv" ? asCsv(entries) : asJsonLines(entries)) {
      if (io.signal?.aborted) break;
      await io.out(text);
    }
    return 0;
  });
}

export interface AuditTailOptions {
  readonly ledger: LedgerPlace;
  /** Entries shown before the new ones; default 10. */
  readonly lines?: number;
  readonly json?: boolean;
}

/** `audit tail`: the last entries, then new ones until `io.signal`. Exit codes: 0 stopped, 1 failed, 2 no ledger there. */
export async function auditTail({ ledger, lines = 10, json }: AuditTailOptions, io: AuditIo): Promise<number> {
  return withLedger(ledger, io, nothing, async (db) => {
    const signal = io.signal ?? new AbortController().signal;
    for await (const entry of followEntries(db, lines, signal)) {
      await io.out(json ? `${JSON.stringify(entry)}\n` : `${line(entry)}\n`);
    }
    return 0;
  });
}

const nothing = (): Promise<void> => Promise.resolve();

/** `work` on the ledger at `place`, once that and all else that was `given` could be read. */
async function withLedger<T>(
  place: LedgerPlace,
  io: AuditIo,
  given: () => Promise<T>,
  work: (db: LedgerReader, given: T) => Promise<number>,
): Promise<number> {
  let db: LedgerReader | undefined;
  // A file that isn't there was named wrongly; a database that doesn't answer has failed.
  let code = "url" in place ? 1 : 2;
  try {
    db = await readLedger(place);
    code = 2;
    const input = await given();
    code = 1;
    return await work(db, input);
  } catch (error) {
    await io.err(complaint(error));
    return code;
  } finally {
    await db?.destroy();
  }
}

/** A file that isn't there is told in words, with where the name came from; everything else in its own. */
function complaint(error: unknown): string {
  if (!(error instanceof Error)) return "error: unknown fault\n";
  if (!("code" in error && error.code === "ENOENT" && "path" in error)) return `error: ${error.message}\n`;
  return `error: there is no file ${String(error.path)}\nhint: the ledger and its keys lie in stateDir, of the configuration that --config names\n`;
}

async function readVerifier(key: AuditVerifyOptions["checkpointPublicKey"]): Promise<CheckpointVerifier | undefined> {
  if (typeof key === "function") return key();
  return typeof key === "string" ? parseVerifierKey(key) : key;
}

function tellProgress(io: AuditIo): (checked: number, rows: number) => void {
  let told = Date.now();
  return (checked, rows) => {
    if (Date.now() - told < PROGRESS_EVERY) return;
    told = Date.now();
    void io.err(`${checked} of ${rows} rows\n`);
  };
}

function describe(report: VerifyReport, verifier: CheckpointVerifier | undefined): string {
  const { rows, root, checkpoints, erased, provenTo } = report;
  const proof =
    provenTo > 0
      ? `consistent; nothing up to row ${provenTo} was changed, removed or reordered since the checkpoint`
      : "consistent; completeness not proven (give a checkpoint that was kept elsewhere)";
  const signatures = verifier ? `${checkpoints} checkpoints in the log hold` : "checkpoints' signatures not checked";
  return `${proof}\n${rows} rows, root ${root}\n${signatures}; ${erased} rows with their personal data erased\n`;
}

/** An entry for people, on one line. */
function line(entry: LedgerEntry): string {
  const tags = Object.entries(entry.tags ?? {}).map(([key, value]) => `${key}=${value}`);
  const parts = [
    entry.time,
    entry.seq,
    entry.type,
    entry.email,
    entry.sessionName,
    ...tags,
    entry.reason,
    ...ids(entry),
  ];
  return parts
    .filter((part) => part !== undefined)
    .map((part) => printable(String(part)))
    .join("  ");
}

/** What `revoke --session`, `revoke --grant` and `people rebind --request` take. */
function ids({ type, requestId, signInId, grantId }: LedgerEntry): string[] {
  const session = type === "login.succeeded" ? requestId : signInId;
  const ids = { session, request: type === "login.denied" ? requestId : undefined, grant: grantId };
  return Object.entries(ids).flatMap(([name, id]) => (id === undefined ? [] : [`${name}=${id}`]));
}
