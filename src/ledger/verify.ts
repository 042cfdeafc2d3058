import type { EventType } from "../flow/audit-event.ts";
import { openCheckpoint, type CheckpointVerifier } from "./checkpoint.ts";
import { readPages, type StoredRow } from "./log-reader.ts";
import { leafHash, MerkleTree, peaksOf, type TreeNode } from "./merkle.ts";
import { canonicalJson, ownerDigest, personalDigest, readEntry, revocationDigest, type LedgerEntry } from "./row.ts";
import type { LedgerReader } from "./tables.ts";
import { readSize, readTree } from "./tree-store.ts";

export interface VerifyOptions {
  /** Without it, checkpoints in the log are not checked, and none from outside can be. */
  readonly verifier?: CheckpointVerifier | undefined;
  /** Signed notes that were kept elsewhere. */
  readonly checkpoints?: readonly string[];
  /** Called after each page with the rows checked so far and in all. */
  readonly progress?: (checked: number, rows: number) => void;
}

export interface VerifyReport {
  readonly rows: number;
  /** Merkle tree hash over all rows, base64. */
  readonly root: string;
  /** Checkpoints in the log whose signature and root hold. */
  readonly checkpoints: number;
  /** Rows whose personal record has been erased; the rest of them is proven all the same. */
  readonly erased: number;
  /**
   * Up to here a checkpoint from outside proves that nothing was changed, removed or reordered. 0: consistent, but
   * completeness is not proven, since who rewrites the whole log can make it consistent again.
   */
  readonly provenTo: number;
}

/** The first thing that is wrong, and with which row as far as that can be known. */
export class VerifyFailure extends Error {
  override readonly name = "VerifyFailure";
  readonly seq: number | undefined;

  constructor(seq: number | undefined, message: string) {
    super(seq === undefined ? message : `row ${seq}: ${message}`);
    this.seq = seq;
  }
}

/**
 * Recomputes everything that the log holds: each row's canonical JSON and leaf hash, the tree above them, the digests
 * of the personal records that are still there, the signature and root of each checkpoint, who owns which session
 * name, what is revoked. Then that every checkpoint from outside is one of this log. Rejects with {@link VerifyFailure} at the
 * first fault. Reads in pages, beside a broker that goes on writing.
 */
export async function verifyLog(db: LedgerReader, options: VerifyOptions = {}): Promise<VerifyReport> {
  const rows = await readSize(db);
  const outside = openOutside(options);
  const tree = new MerkleTree();
  let erased = 0;
  let checkpoints = 0;
  for await (const page of readPages(db, 0, rows)) {
    const nodes: TreeNode[] = [];
    for (const stored of page) {
      const entry = checkRow(stored, tree.size + 1);
      if (entry.personal !== undefined && stored.record === null) erased += 1;
      nodes.push(...tree.append(leafHash(stored.row)));
    }
    await checkNodes(db, nodes);
    checkpoints += await checkInnerCheckpoints(db, page, options.verifier);
    options.progress?.(tree.size, rows);
  }
  if (tree.size !== rows) throw new VerifyFailure(tree.size + 1, "is missing");
  await checkNoStrangers(db, rows);
  await checkPeople(db);
  await checkRevocations(db);
  for (const checkpoint of outside) await checkOutside(db, checkpoint, rows);
  const provenTo = Math.max(0, ...outside.map(({ size }) => size));
  return { rows, root: tree.root().toString("base64"), checkpoints, erased, provenTo };
}

/** The row itself: in its place, canonical, its columns and hashes as its text says. */
function checkRow(stored: StoredRow, expected: number): LedgerEntry {
  const { seq } = stored;
  const fail = (message: string): never => {
    throw new VerifyFailure(seq, message);
  };
  if (seq !== expected) throw new VerifyFailure(expected, "is missing");
  if (leafHash(stored.row).toString("hex") !== stored.leaf_hash) fail("was changed: its leaf hash does not fit");
  let entry: LedgerEntry;
  try {
    entry = readEntry(stored.row, null);
  } catch {
    return fail("is not JSON");
  }
  if (canonicalJson(entry) !== stored.row) fail("is not canonical JSON (RFC 8785)");
  if (entry.seq !== seq) fail("stands in another row's place");
  if (entry.type !== stored.type) fail("its column type does not fit");
  if (entry.time !== stored.time) fail("its column time does not fit");
  if ((entry.requestId ?? null) !== stored.request_id) fail("its column request_id does not fit");
  if (stored.record !== null && personalDigest(stored.salt ?? "", stored.record) !== entry.personal) {
    fail("its personal record was changed");
  }
  return entry;
}

/** The stored subtrees are those that the rows give. */
async function checkNodes(db: LedgerReader, nodes: readonly TreeNode[]): Promise<void> {
  const stored = new Map<string, string>();
  for (const level of new Set(nodes.map((node) => node.level))) {
    const indexes = nodes.filter((node) => node.level === level).map((node) => node.index);
    const found = await db
      .selectFrom("nodes")
      .selectAll()
      .where("level", "=", level)
      .where("idx", ">=", Math.min(...indexes))
      .where("idx", "<=", Math.max(...indexes))
      .execute();
    for (const node of found) stored.set(`${node.level}/${node.idx}`, node.hash);
  }
  for (const { level, index, hash } of nodes) {
    if (stored.get(`${level}/${index}`) === hash.toString("hex")) continue;
    const span = 2 ** level;
    const [first, last] = [index * span + 1, (index + 1) * span];
    throw new VerifyFailure(first, `the tree over rows ${first} to ${last} does not fit: one of them was changed`);
  }
}

/** Checkpoints are rows too; each must be of this very log. */
async function checkInnerCheckpoints(
  db: LedgerReader,
  page: readonly StoredRow[],
  verifier: CheckpointVerifier | undefined,
): Promise<number> {
  const rows = page.filter(({ type }) => type === ("checkpoint" satisfies EventType));
  if (!verifier) return 0;
  for (const { seq, row, record } of rows) {
    try {
      const checkpoint = openCheckpoint(readEntry(row, record).checkpoint ?? "", verifier);
      if (checkpoint.size >= seq) throw new Error("it speaks of rows that came later");
      await requireRoot(db, checkpoint);
    } catch (error) {
      throw new VerifyFailure(seq, `the checkpoint does not hold: ${sentence(error)}`);
    }
  }
  return rows.length;
}

/** Nothing lies in the tables that no row accounts for. */
async function checkNoStrangers(db: LedgerReader, rows: number): Promise<void> {
  // A tree of n leaves has n minus its number of peaks full subtrees above them; later rows may have added more.
  const { count } = await db
    .selectFrom("nodes")
    .select((eb) => eb.fn.countAll().as("count"))
    .executeTakeFirstOrThrow();
  const now = await readSize(db);
  const [least, most] = [rows - peaksOf(rows).length, now - peaksOf(now).length];
  if (Number(count) < least || Number(count) > most) {
    throw new VerifyFailure(undefined, "the tree has nodes that no row accounts for");
  }
  // No page begins there, no hash covers it, and names and revocations by such a row would count all the same.
  const before = await db.selectFrom("rows").select("seq").where("seq", "<", 1).limit(1).executeTakeFirst();
  if (before) throw new VerifyFailure(before.seq, "stands before the first row, where no tree covers it");
  const stranger = await db
    .selectFrom("personal")
    .leftJoin("rows", "rows.seq", "personal.seq")
    .select("personal.seq")
    .where("rows.seq", "is", null)
    .executeTakeFirst();
  if (stranger) throw new VerifyFailure(stranger.seq, "has a personal record, but no row");
}

/** Every session name is owned as its `identity.*` row says, and none of these was taken away. */
async function checkPeople(db: LedgerReader): Promise<void> {
  const count = await countOf(db, "people");
  const bound = await db
    .selectFrom("rows")
    .leftJoin("people", "people.seq", "rows.seq")
    .select(["rows.seq", "rows.row", "people.directory", "people.subject", "people.session_name"])
    .select(["people.generation", "people.salt"])
    .where("rows.type", "in", ["identity.bound", "identity.rebound"] satisfies EventType[])
    .orderBy("rows.seq")
    .execute();
  const generations = new Map<string, number>();
  for (const { seq, row, directory, subject, session_name: sessionName, generation, salt } of bound) {
    const gone = directory === null || subject === null || sessionName === null || generation === null;
    if (gone || salt === null) throw new VerifyFailure(seq, "the session name that it bound is no longer recorded");
    // By the digest, not by the personal record: who takes a name could erase that.
    if (readEntry(row, null).owner !== ownerDigest({ salt, directory, subject, sessionName, generation })) {
      throw new VerifyFailure(seq, "the session name that it bound is recorded for somebody else");
    }
    if (generation !== (generations.get(sessionName) ?? 0) + 1) {
      throw new VerifyFailure(seq, "the session name that it bound had another owner, who is not recorded");
    }
    generations.set(sessionName, generation);
  }
  if (count > bound.length) throw new VerifyFailure(undefined, "a session name is recorded that no row bound");
}

/** Every revocation stands as its row says, and none was taken away. */
async function checkRevocations(db: LedgerReader): Promise<void> {
  const count = await countOf(db, "revocations");
  const rows = await db
    .selectFrom("rows")
    .leftJoin("revocations", "revocations.seq", "rows.seq")
    .select(["rows.seq", "rows.row", "revocations.target", "revocations.effect", "revocations.salt"])
    .where("rows.type", "in", ["session.revoked", "admin.action"] satisfies EventType[])
    .execute();
  let revoked = 0;
  for (const { seq, row, target, effect, salt } of rows) {
    const { revocation } = readEntry(row, null);
    // What a provider ended, and what else admins do, stands in no other table.
    if (revocation === undefined) continue;
    if (target === null || effect === null || salt === null) {
      throw new VerifyFailure(seq, "what it revoked is no longer recorded as revoked");
    }
    if (revocation !== revocationDigest({ salt, target, effect })) {
      throw new VerifyFailure(seq, "what it revoked is recorded as something else");
    }
    revoked += 1;
  }
  if (count > revoked) throw new VerifyFailure(undefined, "a revocation is recorded that no row made");
}

/** To be asked first: a broker that writes meanwhile only adds to what is read next. */
async function countOf(db: LedgerReader, table: "people" | "revocations"): Promise<number> {
  const { count } = await db
    .selectFrom(table)
    .select((eb) => eb.fn.countAll().as("count"))
    .executeTakeFirstOrThrow();
  return Number(count);
}

function openOutside({ checkpoints = [], verifier }: VerifyOptions): { size: number; root: Buffer }[] {
  return checkpoints.map((note) => {
    if (!verifier) throw new VerifyFailure(undefined, "a checkpoint can't be checked without its public key");
    try {
      return openCheckpoint(note, verifier);
    } catch (error) {
      throw new VerifyFailure(undefined, `the checkpoint does not hold: ${sentence(error)}`);
    }
  });
}

async function checkOutside(db: LedgerReader, checkpoint: { size: number; root: Buffer }, rows: number): Promise<void> {
  const { size } = checkpoint;
  if (size > rows) throw new VerifyFailure(rows + 1, `is missing: the checkpoint was made of ${size} rows`);
  try {
    await requireRoot(db, checkpoint);
  } catch (error) {
    throw new VerifyFailure(undefined, `rows 1 to ${size} are not those of the checkpoint: ${sentence(error)}`);
  }
}

async function requireRoot(db: LedgerReader, { size, root }: { size: number; root: Buffer }): Promise<void> {
  const tree = await readTree(db, size);
  if (!tree.root().equals(root)) throw new Error("the tree has another root");
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : "unknown fault";
}
