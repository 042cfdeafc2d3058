import type { LedgerReader } from "./tables.ts";
import { MerkleTree, peaksOf } from "./merkle.ts";

/** The last row of a log, by which a log is known again: its leaf hash stands for all that is in the row. */
export interface LogEnd {
  readonly seq: number;
  /** Hex. */
  readonly leafHash: string;
}

/** A log's end with the tree over all rows up to there, of which nobody adds to this one. */
export interface TreeEnd extends LogEnd {
  readonly tree: MerkleTree;
}

/** Where the log ends now; undefined while it is empty. */
export async function readEnd(db: LedgerReader): Promise<LogEnd | undefined> {
  return await db
    .selectFrom("rows")
    .select(["seq", "leaf_hash as leafHash"])
    .orderBy("seq", "desc")
    .limit(1)
    .executeTakeFirst();
}

/** How many rows the log has. */
export async function readSize(db: LedgerReader): Promise<number> {
  return (await readEnd(db))?.seq ?? 0;
}

/**
 * The tree over the first `size` rows, from its stored peaks: a few rows read, however long the log is. Full subtrees
 * never change, so this needs no transaction. Rejects where a peak is missing.
 */
export async function readTree(db: LedgerReader, size: number): Promise<MerkleTree> {
  if (size === 0) return new MerkleTree();
  const peaks = peaksOf(size);
  const nodes = await db
    .selectFrom("nodes")
    .selectAll()
    .where((eb) => eb.or(peaks.map((peak) => eb.and([eb("level", "=", peak.level), eb("idx", "=", peak.index)]))))
    .execute();
  const hashes = new Map(nodes.map((node) => [node.level, node.hash]));
  // The leaves' own hashes lie with the rows. An odd size has its last leaf as a peak.
  if (size % 2 === 1) {
    const leaf = await readLeaf(db, size);
    if (leaf !== undefined) hashes.set(0, leaf);
  }
  return new MerkleTree(
    size,
    peaks.map(({ level, index }) => {
      const hash = hashes.get(level);
      if (hash === undefined) throw new Error(`the tree's node ${level}/${index} is missing`);
      return Buffer.from(hash, "hex");
    }),
  );
}

async function readLeaf(db: LedgerReader, seq: number): Promise<string | undefined> {
  const row = await db.selectFrom("rows").select("leaf_hash").where("seq", "=", seq).executeTakeFirst();
  return row?.leaf_hash;
}

/**
 * As {@link requireContinues}, and the tree over all rows up to there is the one that it was: a past that was rebuilt
 * before the same last row is another log.
 */
export async function requireSameTree(db: LedgerReader, end: TreeEnd | undefined): Promise<void> {
  if (end === undefined) return;
  await requireContinues(db, end);
  const tree = await readTree(db, end.seq);
  if (!tree.root().equals(end.tree.root())) throw new Error("what lies at the ledger's place now is another log");
}

/** Whether both are one row of one log. */
export function isSameEnd(a: LogEnd | undefined, b: LogEnd | undefined): boolean {
  return a?.seq === b?.seq && a?.leafHash === b?.leafHash;
}

/**
 * Rejects unless `end` is still in this log as it was: the log was not swapped, cut or restored to an older state.
 * `current`: where the log ends now, if that has been read.
 */
export async function requireContinues(db: LedgerReader, end: LogEnd | undefined, current?: LogEnd): Promise<void> {
  if (end === undefined || isSameEnd(end, current)) return;
  const hash = await readLeaf(db, end.seq);
  if (hash !== end.leafHash) {
    throw new Error(
      `the ledger does not continue the record that this broker has written: row ${end.seq} is ${hash === undefined ? "missing" : "another one"}`,
    );
  }
}
