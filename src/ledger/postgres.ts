import { Kysely, PostgresDialect, sql, type Transaction } from "kysely";
import type { LedgerDatabase, Work } from "./database.ts";
import { PostgresError } from "./postgres-error.ts";
import { postgresPool } from "./postgres-pool.ts";
import { requireTablesVersion, type LedgerReader, type LedgerTables } from "./tables.ts";
import { requireSameTree, type TreeEnd } from "./tree-store.ts";

/** The log's lock: an advisory one, which needs no right on any table. "rolecall" in ASCII. */
const LOCK = "8245928625453493356";

/** Batches come one after the other; session names are looked up beside them. */
const WRITERS = 1;
const READERS = 4;

/** How long an operator's command waits for one page (milliseconds). */
const READ_PATIENCE = 60_000;

/**
 * The ledger in the PostgreSQL database at `url`, whose tables its owner has made (templates/postgres/ledger.sql);
 * INSERT and SELECT are all the rights that it needs. Nothing takes longer than `deadlineMs`. Rejects with a sentence
 * where it can't be reached, or isn't a ledger. Any number of brokers may have it open.
 */
export async function openPostgres(url: string, deadlineMs: number): Promise<LedgerDatabase> {
  const database = new PostgresDatabase(url, deadlineMs);
  try {
    await requireLedger(database.reader);
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

class PostgresDatabase implements LedgerDatabase {
  readonly reader: LedgerReader;
  readonly #writer: Kysely<LedgerTables>;

  constructor(url: string, deadlineMs: number) {
    this.reader = connect(url, READERS, deadlineMs);
    this.#writer = connect(url, WRITERS, deadlineMs);
  }

  async write<T>(end: TreeEnd | undefined, work: Work<T>): Promise<T> {
    // Read committed, whatever is the database's default: each statement after the lock sees what the last holder
    // committed. Released by the commit itself, so nobody else can come in before it.
    return await this.#writer
      .transaction()
      .setIsolationLevel("read committed")
      .execute(async (tx) => {
        await sql`select pg_advisory_xact_lock(${LOCK}), set_config('synchronous_commit', 'on', true)`.execute(tx);
        await requireSameTree(tx, end);
        return await work(tx, undefined);
      });
  }

  /** A row that is taken back at once: it needs the same right as an append, and its end is written to the disk. */
  async probe(tx: Transaction<LedgerTables>): Promise<void> {
    await sql`savepoint probe`.execute(tx);
    await tx
      .insertInto("rows")
      .values({ seq: 0, type: "", request_id: null, time: "", row: "", leaf_hash: "" })
      .execute();
    await sql`rollback to savepoint probe`.execute(tx);
  }

  async close(): Promise<void> {
    await this.reader.destroy();
    await this.#writer.destroy();
  }
}

/** A ledger in PostgreSQL for reading only. Rejects where it can't be reached, or isn't a ledger. */
export async function readPostgres(url: string): Promise<LedgerReader> {
  const reader = connect(url, 1, READ_PATIENCE);
  try {
    await requireLedger(reader);
    return reader;
  } catch (error) {
    await reader.destroy();
    throw error;
  }
}

function connect(url: string, connections: number, deadlineMs: number): Kysely<LedgerTables> {
  return new Kysely<LedgerTables>({
    dialect: new PostgresDialect({ pool: postgresPool(url, connections, deadlineMs) }),
  });
}

/** Text must come back as it was: another encoding would change it, or refuse it. */
async function requireLedger(db: LedgerReader): Promise<void> {
  const settings = await sql<{ encoding: string }>`select current_setting('server_encoding') encoding`.execute(db);
  const encoding = settings.rows[0]?.encoding;
  if (encoding !== "UTF8")
    throw new PostgresError(`the database must have the encoding UTF8, not ${encoding ?? "none"}`);
  await requireTablesVersion(db);
}
