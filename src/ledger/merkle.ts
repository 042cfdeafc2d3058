import { createHash } from "node:crypto";

/**
 * The Merkle tree of RFC 9162, section 2.1, kept so that one more leaf costs O(log n): what is stored are the hashes
 * of full subtrees, by level (0: leaves) and index from the left. Such a hash never changes again.
 */
export interface TreeNode {
  readonly level: number;
  readonly index: number;
  readonly hash: Buffer;
}

/** Leaf hash of a row's text, UTF-8: SHA-256(0x00 || text) (RFC 9162, section 2.1.1). */
export function leafHash(text: string): Buffer {
  return createHash("sha256").update("\0").update(text, "utf8").digest();
}

/** SHA-256(0x01 || left || right) (RFC 9162, section 2.1.1). */
export function nodeHash(left: Buffer, right: Buffer): Buffer {
  return createHash("sha256").update("\x01").update(left).update(right).digest();
}

/** Where the largest full subtrees of a tree of `size` leaves stand, from the left: one for each bit of `size`. */
export function peaksOf(size: number): { level: number; index: number }[] {
  const peaks: { level: number; index: number }[] = [];
  // Division, not shifts, which end at 32 bits.
  for (let level = 0, rest = size; rest > 0; level += 1, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) peaks.unshift({ level, index: rest - 1 });
  }
  return peaks;
}

/** A tree that grows: its size and the hashes of its peaks are all that it needs to know. */
export class MerkleTree {
  readonly #peaks: Buffer[];
  #size: number;

  /** The tree of `size` leaves whose peaks, in the order of {@link peaksOf}, have these hashes. */
  constructor(size = 0, peaks: readonly Buffer[] = []) {
    if (peaks.length !== peaksOf(size).length) throw new RangeError("a peak's hash is missing");
    this.#size = size;
    this.#peaks = [...peaks];
  }

  /** Another tree of the same leaves, to grow by itself. */
  copy(): MerkleTree {
    return new MerkleTree(this.#size, this.#peaks);
  }

  get size(): number {
    return this.#size;
  }

  /** Adds one leaf; returns the subtrees above it that became full by that, from the lowest. */
  append(leaf: Buffer): TreeNode[] {
    const full: TreeNode[] = [];
    let node: TreeNode = { level: 0, index: this.#size, hash: leaf };
    while (node.index % 2 === 1) {
      const left = this.#peaks.pop() as Buffer;
      node = { level: node.level + 1, index: (node.index - 1) / 2, hash: nodeHash(left, node.hash) };
      full.push(node);
    }
    this.#peaks.push(node.hash);
    this.#size += 1;
    return full;
  }

  /** The Merkle tree hash; that of no leaves is the hash of nothing. */
  root(): Buffer {
    const [last, ...others] = this.#peaks.toReversed();
    if (last === undefined) return createHash("sha256").digest();
    return others.reduce((right, left) => nodeHash(left, right), last);
  }
}
