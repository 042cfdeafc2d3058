import { setTimeout as delay } from "node:timers/promises";
import type { LedgerReader } from "./tables.ts";
import { readEntry, type LedgerEntry } from "./row.ts";
import { readSize } from "./tree-store.ts";

/** Rows read at a time: memory stays the same however long the log is. */
const PAGE = 500;
/** How often `follow` looks for new rows (milliseconds). */
const LOOK_EVERY = 500;

/** A row with its personal record, as stored. */
export interface StoredRow {
  readonly seq: number;
  readonly type: string;
  readonly request_id: string | null;
  readonly time: string;
  readonly row: string;
  readonly leaf_hash: string;
  /** Null where there is no personal record, or no longer. */
  readonly salt: string | null;
  readonly record: string | null;
}

/** Pages of rows in order, from the one after `after` to `upTo`, whatever is appended meanwhile. */
export async function* readPages(db: LedgerReader, after: number, upTo: number): AsyncGenerator<StoredRow[]> {
  for (let last = after; last < upTo;) {
    const page = await db
      .selectFrom("rows")
      .leftJoin("personal", "personal.seq", "rows.seq")
      .select(["rows.seq", "rows.type", "rows.request_id", "rows.time", "rows.row", "rows.leaf_hash"])
      .select(["personal.salt", "personal.record"])
      .where("rows.seq", ">", last)
      .where("rows.seq", "<=", upTo)
      .orderBy("rows.seq")
      .limit(PAGE)
      .execute();
    if (page.length > 0) yield page;
    last = page.length < PAGE ? upTo : (page.at(-1)?.seq ?? upTo);
  }
}

/** Every entry that the log holds now, in order. */
export async function* readEntries(db: LedgerReader): AsyncGenerator<LedgerEntry> {
  for await (const page of readPages(db, 0, await readSize(db))) {
    for (const { row, record } of page) yield readEntry(row, record);
  }
}

/** The last `lines` entries, then each new one as it is committed, until `signal` says stop. */
export async function* followEntries(
  db: LedgerReader,
  lines: number,
  signal: AbortSignal,
): AsyncGenerator<LedgerEntry> {
  let last = Math.max(0, (await readSize(db)) - lines);
  while (!signal.aborted) {
    const size = await readSize(db);
    for await (const page of readPages(db, last, size)) {
      for (const { row, record } of page) yield readEntry(row, record);
    }
    last = Math.max(last, size);
    await delay(LOOK_EVERY, undefined, { signal }).catch(() => undefined);
  }
}
