import type { Transaction } from "kysely";
import type { LedgerReader, LedgerTables } from "./tables.ts";
import type { LogEnd, TreeEnd } from "./tree-store.ts";

/** What is done in a transaction; `current` is where the log ends, if that has been read in it. */
export type Work<T> = (tx: Transaction<LedgerTables>, current: LogEnd | undefined) => Promise<T>;

/** What the ledger needs from a database; everything else is written once, over Kysely. */
export interface LedgerDatabase {
  /**
   * Runs `work` in one durable transaction that holds the log's lock, so that nobody else, in any process, appends
   * meanwhile; what `work` reads is the newest. Rejects, with nothing written, where the database can't be written,
   * or where the log in it does not continue `end`.
   */
  write<T>(end: TreeEnd | undefined, work: Work<T>): Promise<T>;
  /** Writes what adds no row, inside a transaction of {@link write}: rejects where an append would. */
  probe(tx: Transaction<LedgerTables>): Promise<void>;
  /** Reads beside the writer, and sees what has been committed. Not to be kept: it may be another one next time. */
  readonly reader: LedgerReader;
  close(): Promise<void>;
}
