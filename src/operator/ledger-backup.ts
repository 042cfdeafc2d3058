import { link, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { DatabaseSync, backup } from "node:sqlite";
import { readSqlite } from "../ledger/sqlite.ts";
import { verifyLog, type VerifyReport } from "../ledger/verify.ts";
import type { OperatorIo } from "./check.ts";
import type { ConfiguredLedger } from "./configured-ledger.ts";
import { complain, exists } from "./ledger-copy.ts";

/** Pages copied between two looks at the clock and at what the broker wrote meanwhile. */
const PAGES = 1000;
/** Progress is told once a second, so not at all where it is soon over (milliseconds). */
const PROGRESS_EVERY = 1000;

/**
 * `ledger backup FILE`: the SQLite record as one file of its own, of one moment, made beside a running broker by SQLite's
 * online backup and verified before it gets its name. Mode 0600; a file that is there already is never written over.
 * Exit codes: 0 done and verified; 1 failed, with no file left; 2 the record is in PostgreSQL, or there is none.
 */
export async function ledgerBackup(
  { ledger, checkpointKey }: ConfiguredLedger,
  { file, json }: { file: string; json?: true },
  io: OperatorIo,
): Promise<number> {
  if (!("file" in ledger)) return complain(io, "the record is in PostgreSQL: back it up with pg_dump", 2);
  if (!(await exists(ledger.file))) return complain(io, `there is no ledger at ${ledger.file}`, 2);
  if (await exists(file)) return complain(io, `${file} is there already`, 1);
  const partial = `${file}.partial`;
  try {
    const verifier = await checkpointKey();
    await copyPages(ledger.file, partial, io);
    const report = await verified(partial, (db) => verifyLog(db, { verifier }));
    // Unlike a rename, a link never takes another file's place.
    await link(partial, file);
    await syncFolder(dirname(file));
    io.out(json ? `${JSON.stringify({ ok: true, file, ...report })}\n` : describe(report, file));
    return 0;
  } catch (error) {
    return complain(io, error instanceof Error ? error.message : "unknown fault", 1);
  } finally {
    await rm(partial, { force: true });
  }
}

async function copyPages(from: string, to: string, io: OperatorIo): Promise<void> {
  // Made first, so that it has its mode before anything is in it.
  await (await open(to, "wx", 0o600)).close();
  const source = new DatabaseSync(from, { readOnly: true, timeout: 5000 });
  try {
    let told = Date.now();
    await backup(source, to, {
      rate: PAGES,
      progress: ({ totalPages, remainingPages }) => {
        if (Date.now() - told < PROGRESS_EVERY) return;
        told = Date.now();
        io.err(`${Math.floor((100 * (totalPages - remainingPages)) / totalPages)} % copied\n`);
      },
    });
  } finally {
    source.close();
  }
  const copy = new DatabaseSync(to);
  // Without a write-ahead log: one file is all there is to keep.
  copy.exec("pragma journal_mode = delete");
  copy.close();
  const handle = await open(to, "r");
  await handle.sync();
  await handle.close();
}

async function verified<T>(file: string, work: (db: ReturnType<typeof readSqlite>) => Promise<T>): Promise<T> {
  const db = readSqlite(file);
  try {
    return await work(db);
  } finally {
    await db.destroy();
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  await handle.sync();
  await handle.close();
}

function describe({ rows, root, checkpoints }: VerifyReport, file: string): string {
  return `${file}: ${rows} rows, root ${root}\n${checkpoints} checkpoints in it hold\n`;
}
