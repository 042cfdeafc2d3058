import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import type { LedgerDatabase } from "./database.ts";
import { openPostgres, readPostgres } from "./postgres.ts";
import { openSqlite, readSqlite } from "./sqlite.ts";
import type { LedgerReader } from "./tables.ts";

/** Where a ledger lies: in an SQLite file, or in a PostgreSQL database, whose URL may hold a password. */
export type LedgerPlace = { readonly file: string } | { readonly url: string };

/** Where the configuration says. */
export function configuredPlace({ ledgerUrl, stateDir }: Pick<Config, "ledgerUrl" | "stateDir">): LedgerPlace {
  return ledgerUrl === undefined ? { file: filePlace(stateDir) } : { url: ledgerUrl };
}

/** The SQLite file of a broker with this `stateDir`. */
export function filePlace(stateDir: string): string {
  return join(stateDir, "ledger.db");
}

/** For messages: the file's path, never the URL. */
export function describePlace(place: LedgerPlace): string {
  return "file" in place ? `in the file ${place.file}` : "in PostgreSQL";
}

/** The database there, to write to; a caller waits `deadlineMs` at most. Rejects where it can't be opened. */
export async function openDatabase(place: LedgerPlace, deadlineMs: number): Promise<LedgerDatabase> {
  if ("url" in place) return await openPostgres(place.url, deadlineMs);
  // A lock is given up on before the callers are, so that they learn that it was a lock.
  return await openSqlite(place.file, Math.floor(deadlineMs * 0.75));
}

/** The ledger there for reading only, beside running brokers or without one. Rejects where there is none. */
export async function readLedger(place: LedgerPlace): Promise<LedgerReader> {
  if ("url" in place) return await readPostgres(place.url);
  await stat(place.file);
  return readSqlite(place.file);
}
