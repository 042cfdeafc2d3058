import { chmod, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { Kysely, sql, type Transaction } from "kysely";
import type { LedgerDatabase } from "./database.ts";
import { SqliteWorkerDialect } from "./sqlite-dialect.ts";
import { createTables, type LedgerReader, type LedgerTables } from "./tables.ts";

/**
 * The ledger in one SQLite file (WAL, synchronous FULL), made if it isn't there: mode 0600, its folder 0700. A writer
 * and a reader, each in a thread of its own. Rejects with a sentence where the file can't be made or opened.
 * Several processes may have it open: the file's own lock is the log's lock.
 */
export async function openSqlite(file: string, busyTimeoutMs: number): Promise<LedgerDatabase> {
  await createFile(file);
  const writer = connect({ file, readOnly: false, busyTimeoutMs });
  const reader = connect({ file, readOnly: true, busyTimeoutMs });
  const database: LedgerDatabase = {
    reader,
    write: (work) => writer.transaction().execute(work),
    close: async () => {
      await reader.destroy();
      await writer.destroy();
    },
  };
  try {
    await database.write(createSqliteTables);
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** A ledger's file for reading only, beside a running broker or without one. It must be there. */
export function readSqlite(file: string): LedgerReader {
  return connect({ file, readOnly: true, busyTimeoutMs: 5000 });
}

function connect(settings: { file: string; readOnly: boolean; busyTimeoutMs: number }): Kysely<LedgerTables> {
  return new Kysely<LedgerTables>({ dialect: new SqliteWorkerDialect(settings) });
}

/** Empty, so that it has its mode before anything is in it; SQLite gives its other files the same. */
async function createFile(file: string): Promise<void> {
  const folder = dirname(file);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    const handle = await open(file, "wx", 0o600);
    await handle.close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return;
  }
  await chmod(file, 0o600);
}

async function createSqliteTables(tx: Transaction<LedgerTables>): Promise<void> {
  await createTables(tx, "integer");
  // What PostgreSQL does by grants: this program can't change or remove what it has written, not even by mistake.
  for (const table of ["rows", "nodes"]) {
    for (const change of ["update", "delete"]) {
      await sql`create trigger if not exists ${sql.ref(`${table}_no_${change}`)} before ${sql.raw(change)}
        on ${sql.table(table)} begin select raise(abort, 'the ledger is append-only'); end`.execute(tx);
    }
  }
}
