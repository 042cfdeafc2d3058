import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { leafHash, MerkleTree, nodeHash, peaksOf } from "../../src/ledger/merkle.ts";

/** RFC 9162, section 2.1.1, as it stands there. */
function naiveRoot(leaves: readonly string[]): Buffer {
  if (leaves.length === 0) return createHash("sha256").digest();
  if (leaves.length === 1) return leafHash(leaves[0] as string);
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return nodeHash(naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)));
}

describe("the Merkle tree (RFC 9162, section 2.1)", () => {
  // Roots of the first n inputs of certificate-transparency's reference tests, those that are UTF-8 text.
  const INPUTS = ["", "\0", "\x10", " !", "01", "@ABC", "PQRSTUVW", "`abcdefghijklmno"];
  it.each([
    [0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    [1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"],
    [2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    [3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"],
    [4, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"],
    [5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"],
    [6, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"],
    [7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"],
    [8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"],
  ])("has the known root over %i leaves", (size, root) => {
    const tree = new MerkleTree();
    for (const text of INPUTS.slice(0, size)) tree.append(leafHash(text));
    expect(tree.root().toString("hex")).toBe(root);
  });

  it("has the root of the recursion at every size, stored nodes or not", () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 70 }), fc.nat(70), (leaves, cut) => {
        const nodes = new Map<string, Buffer>();
        let tree = new MerkleTree();
        leaves.forEach((leaf, i) => {
          const hash = leafHash(leaf);
          nodes.set(`0/${i}`, hash);
          for (const node of tree.append(hash)) nodes.set(`${node.level}/${node.index}`, node.hash);
          // Taken up again from its stored peaks, as after a restart.
          if (i === cut) {
            tree = new MerkleTree(
              i + 1,
              peaksOf(i + 1).map(({ level, index }) => nodes.get(`${level}/${index}`) as Buffer),
            );
          }
          expect(tree.root()).toEqual(naiveRoot(leaves.slice(0, i + 1)));
        });
        expect(nodes.size).toBe(2 * leaves.length - peaksOf(leaves.length).length);
      }),
    );
  });

  it("counts beyond 32 bits", () => {
    expect(peaksOf(2 ** 40 + 1)).toEqual([
      { level: 40, index: 0 },
      { level: 0, index: 2 ** 40 },
    ]);
  });
});
