import { chmod, mkdir, open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { Kysely, sql, type Transaction } from "kysely";
import type { LedgerDatabase, Work } from "./database.ts";
import { SqliteError, SqliteWorkerDialect } from "./sqlite-dialect.ts";
import { createTables, type LedgerReader, type LedgerTables } from "./tables.ts";
import { readEnd, readTree, requireContinues, type TreeEnd } from "./tree-store.ts";
import { verifyLog } from "./verify.ts";

/**
 * The ledger in one SQLite file (WAL, synchronous FULL), made if it isn't there: mode 0600, its folder 0700. A writer
 * and a reader, each in a thread of its own. Rejects with a sentence where the file can't be made or opened.
 * Several processes may have it open: the file's own lock is the log's lock.
 */
export async function openSqlite(file: string, busyTimeoutMs: number): Promise<LedgerDatabase> {
  await createFile(file);
  const database = new SqliteDatabase(file, busyTimeoutMs);
  try {
    await database.write(undefined, createSqliteTables);
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Written by a probe: more than an append needs, so that a disk without room for that isn't called writable. */
const PROBE = "-".repeat(65_536);

interface Connections {
  readonly writer: Kysely<LedgerTables>;
  readonly reader: LedgerReader;
}

class SqliteDatabase implements LedgerDatabase {
  readonly #file: string;
  readonly #busyTimeoutMs: number;
  /** Undefined while another file lies at the path that does not continue our log. */
  #open: Connections | undefined;

  constructor(file: string, busyTimeoutMs: number) {
    this.#file = file;
    this.#busyTimeoutMs = busyTimeoutMs;
    this.#open = this.#connect();
  }

  get reader(): LedgerReader {
    if (!this.#open) throw new SqliteError("another file lies at the ledger's path");
    return this.#open.reader;
  }

  async write<T>(end: TreeEnd | undefined, work: Work<T>): Promise<T> {
    const transact = async (): Promise<T> => {
      const { writer } = this.#open ?? (await this.#adopt(end));
      return await writer.transaction().execute(async (tx) => {
        const current = end && (await readEnd(tx));
        await requireContinues(tx, end, current);
        return await work(tx, current);
      });
    };
    try {
      return await transact();
    } catch (error) {
      if (!(error instanceof SqliteError && error.replaced)) throw error;
      await this.close();
      return await transact();
    }
  }

  async probe(tx: Transaction<LedgerTables>): Promise<void> {
    await tx.updateTable("meta").set({ value: PROBE }).where("key", "=", "probe").execute();
  }

  async close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.reader.destroy();
    await open?.writer.destroy();
  }

  /**
   * Takes the file that lies at the path now, if all of it holds and it continues our log, as a restored copy does.
   * Looked at read-only, and after our connections to the old file have gone: the old write-ahead log still lies beside
   * it, and a writer would mix it into a file that it was never part of.
   */
  async #adopt(end: TreeEnd | undefined): Promise<Connections> {
    // SQLite takes an empty file for a new database and removes the write-ahead log beside it.
    if ((await stat(this.#file)).size === 0) throw new SqliteError("the file at the ledger's path is empty");
    const probe = readSqlite(this.#file);
    try {
      await requireContinues(probe, end);
      await verifyLog(probe);
      const tree = await readTree(probe, end?.seq ?? 0);
      if (end && !tree.root().equals(end.tree.root()))
        throw new SqliteError("the file at the ledger's path is another log");
    } finally {
      await probe.destroy();
    }
    return (this.#open = this.#connect());
  }

  #connect(): Connections {
    const settings = { file: this.#file, busyTimeoutMs: this.#busyTimeoutMs };
    return { writer: connect({ ...settings, readOnly: false }), reader: connect({ ...settings, readOnly: true }) };
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
  await createTables(tx);
  // What PostgreSQL does by grants: this program can't change or remove what it has written, not even by mistake.
  for (const table of ["rows", "nodes", "people", "revocations"]) {
    for (const change of ["update", "delete"]) {
      await sql`create trigger if not exists ${sql.ref(`${table}_no_${change}`)} before ${sql.raw(change)}
        on ${sql.table(table)} begin select raise(abort, 'the ledger is append-only'); end`.execute(tx);
    }
  }
}
