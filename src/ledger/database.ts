import type { Transaction } from "kysely";
import type { LedgerReader, LedgerTables } from "./tables.ts";

/** What the ledger needs from a database; everything else is written once, over Kysely. */
export interface LedgerDatabase {
  /**
   * Runs `work` in one durable transaction that holds the log's lock, so that nobody else, in any process, appends
   * meanwhile; what `work` reads is the newest. Rejects, with nothing written, where the database can't be written.
   */
  write<T>(work: (tx: Transaction<LedgerTables>) => Promise<T>): Promise<T>;
  /** Reads beside the writer, and sees what has been committed. */
  readonly reader: LedgerReader;
  close(): Promise<void>;
}
