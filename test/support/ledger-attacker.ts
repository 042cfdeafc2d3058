import { DatabaseSync } from "node:sqlite";
import { leafHash, MerkleTree } from "../../src/ledger/merkle.ts";
import { canonicalJson } from "../../src/ledger/row.ts";

/** A database administrator, who may do anything to the tables. */
export interface Attacker {
  run(sql: string, ...parameters: (string | number)[]): void;
  get(sql: string, ...parameters: (string | number)[]): Record<string, unknown>;
}

export function attack(file: string, work: (db: Attacker) => void): void {
  const db = new DatabaseSync(file, { enableForeignKeyConstraints: false });
  for (const table of ["rows", "nodes", "people", "revocations"]) {
    for (const change of ["update", "delete"]) db.exec(`drop trigger if exists ${table}_no_${change}`);
  }
  work({
    run: (sql, ...parameters) => void db.prepare(sql).run(...parameters),
    get: (sql, ...parameters) => db.prepare(sql).get(...parameters) as Record<string, unknown>,
  });
  db.close();
}

/** Changes a row's text by `edit`, and makes its leaf hash fit. */
export function rewrite(db: Attacker, seq: number, edit: (row: Record<string, unknown>) => void): void {
  const row = JSON.parse(String(db.get("select row from rows where seq = ?", seq)["row"])) as Record<string, unknown>;
  edit(row);
  const text = canonicalJson(row);
  const hash = leafHash(text).toString("hex");
  db.run("update rows set row = ?, leaf_hash = ?, type = ? where seq = ?", text, hash, String(row["type"]), seq);
}

/** The tree over the first `rows` rows as they are now. */
export function treeOf(db: Attacker, rows: number): MerkleTree {
  const tree = new MerkleTree();
  for (let seq = 1; seq <= rows; seq += 1) tree.append(leafOf(db, seq));
  return tree;
}

/** Makes the whole tree fit the rows as they are now, as who owns the database can. */
export function rebuildTree(db: Attacker, rows: number): void {
  db.run("delete from nodes");
  const tree = new MerkleTree();
  for (let seq = 1; seq <= rows; seq += 1) {
    for (const node of tree.append(leafOf(db, seq))) {
      db.run("insert into nodes values (?, ?, ?)", node.level, node.index, node.hash.toString("hex"));
    }
  }
}

function leafOf(db: Attacker, seq: number): Buffer {
  return Buffer.from(String(db.get("select leaf_hash from rows where seq = ?", seq)["leaf_hash"]), "hex");
}
