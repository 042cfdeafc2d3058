import type { Transaction } from "kysely";
import type { CheckpointVerifier } from "./checkpoint.ts";
import type { LedgerDatabase } from "./database.ts";
import type { LedgerReader, LedgerTables } from "./tables.ts";
import { verifyLog, type VerifyReport } from "./verify.ts";

/** Rows copied at a time: memory stays the same however long the log is. */
const PAGE = 500;

/**
 * The report of the ledger in `to`, which is then all that `from` holds, as it is: rows, personal records, tree,
 * people and revocations, so that every checkpoint and proof holds there too. Both are verified. In one transaction, with both logs
 * locked: rejects, with nothing written, where `to` is not empty or either does not verify.
 */
export async function copyLedger(
  from: LedgerDatabase,
  to: LedgerDatabase,
  verifier: CheckpointVerifier | undefined,
): Promise<VerifyReport> {
  return await from.write(undefined, () =>
    to.write(undefined, async (tx) => {
      await requireEmpty(tx);
      const before = await verifyLog(from.reader, { verifier });
      await copyTables(from.reader, tx);
      const after = await verifyLog(tx, { verifier });
      if (JSON.stringify(after) !== JSON.stringify(before)) throw new Error("the copy is not what was copied");
      return after;
    }),
  );
}

async function requireEmpty(db: LedgerReader): Promise<void> {
  for (const table of ["rows", "personal", "nodes", "people", "revocations"] as const) {
    const { count } = await db
      .selectFrom(table)
      .select((eb) => eb.fn.countAll().as("count"))
      .executeTakeFirstOrThrow();
    if (Number(count) > 0) throw new Error("the ledger to copy to is not empty");
  }
}

/** In the order in which one table needs another. */
async function copyTables(from: LedgerReader, to: Transaction<LedgerTables>): Promise<void> {
  for (const table of ["rows", "personal", "people", "revocations"] as const) {
    for await (const page of pagesBySeq(from, table)) await to.insertInto(table).values(page).execute();
  }
  for await (const page of nodePages(from)) await to.insertInto("nodes").values(page).execute();
}

async function* pagesBySeq<T extends "rows" | "personal" | "people" | "revocations">(
  db: LedgerReader,
  table: T,
): AsyncGenerator<LedgerTables[T][]> {
  for (let last = 0; ;) {
    const page = (await db
      .selectFrom<"rows" | "personal" | "people" | "revocations">(table)
      .selectAll()
      .where("seq", ">", last)
      .orderBy("seq")
      .limit(PAGE)
      .execute()) as LedgerTables[T][];
    if (page.length > 0) yield page;
    if (page.length < PAGE) return;
    last = page.at(-1)?.seq ?? last;
  }
}

async function* nodePages(db: LedgerReader): AsyncGenerator<LedgerTables["nodes"][]> {
  const levels = await db.selectFrom("nodes").select("level").distinct().orderBy("level").execute();
  for (const { level } of levels) {
    for (let last = -1; ;) {
      const page = await db
        .selectFrom("nodes")
        .selectAll()
        .where("level", "=", level)
        .where("idx", ">", last)
        .orderBy("idx")
        .limit(PAGE)
        .execute();
      if (page.length > 0) yield page;
      if (page.length < PAGE) break;
      last = page.at(-1)?.idx ?? last;
    }
  }
}
