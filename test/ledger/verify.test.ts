import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { signCheckpoint } from "../../src/ledger/checkpoint.ts";
import { openLedger } from "../../src/ledger/ledger.ts";
import { leafHash } from "../../src/ledger/merkle.ts";
import { CHECKPOINT_KEY, boundEvent, issued, requested, temporaryFolder, verifyFile } from "../support/ledger.ts";
import { attack, rebuildTree, rewrite, treeOf, type Attacker } from "../support/ledger-attacker.ts";
import { recordingLog } from "../support/log.ts";

function swap(db: Attacker, a: number, b: number): void {
  for (const table of ["rows", "personal"]) {
    db.run(`update ${table} set seq = -1 where seq = ?`, a);
    db.run(`update ${table} set seq = ? where seq = ?`, a, b);
    db.run(`update ${table} set seq = ? where seq = -1`, b);
  }
}

describe("verifying the log", () => {
  let file: string;
  let remove: () => void;
  /** Kept elsewhere: over rows 1 to 21. */
  let kept: string;
  const jane = { directory: "okta", subject: "00u1", email: "jane@acme.example" };
  const john = { directory: "okta", subject: "00u2", email: "john@acme.example" };

  beforeEach(async () => {
    const temporary = temporaryFolder();
    remove = temporary.remove;
    file = join(temporary.folder, "ledger.db");
    const ledger = await openLedger({ file, checkpointKey: CHECKPOINT_KEY, log: recordingLog() });
    await ledger.bind(jane, "jane@acme.example", boundEvent(jane, "jane@acme.example"));
    for (let i = 0; i < 10; i += 1) {
      await ledger.append(requested(`r${i}`, { tags: { team: "search" } }));
      await ledger.append(issued(`r${i}`));
    }
    kept = (await ledger.checkpoint()) ?? "";
    await ledger.bind(john, "john@acme.example", boundEvent(john, "john@acme.example"));
    await ledger.append(requested("later"));
    await ledger.append(issued("later"));
    await ledger.close();
  });

  afterEach(() => {
    remove();
  });

  // Rows: 1 bound, 2-21 requests and outcomes, 22 checkpoint, 23 bound, 24-25 a request, 26 the checkpoint at closing.
  it("says consistent, and how far a checkpoint from outside proves it", async () => {
    expect(await verifyFile(file)).toMatchObject({ rows: 26, checkpoints: 2, erased: 0, provenTo: 0 });
    expect(await verifyFile(file, { checkpoints: [kept] })).toMatchObject({ rows: 26, provenTo: 21 });
    expect(await verifyFile(file, { verifier: undefined })).toMatchObject({ rows: 26, checkpoints: 0 });
  });

  it("holds, also against a checkpoint, when a personal record has been erased", async () => {
    attack(file, (db) => {
      db.run("delete from personal where seq in (2, 4)");
      db.run("delete from personal where seq = 1");
    });
    expect(await verifyFile(file, { checkpoints: [kept] })).toMatchObject({ rows: 26, erased: 3, provenTo: 21 });
  });

  it("tells how far it has come", async () => {
    const told: number[][] = [];
    await verifyFile(file, { progress: (...progress) => told.push(progress) });
    expect(told).toEqual([[26, 26]]);
  });

  const tags = (row: Record<string, unknown>): void => {
    row["tags"] = { team: "somebody-else" };
  };

  it.each<[string, (db: Attacker) => void, number | undefined, RegExp]>([
    [
      "a changed row",
      (db) => {
        db.run("update rows set row = replace(row, 'search', 'finance') where seq = 6");
      },
      6,
      /leaf hash does not fit/,
    ],
    [
      "a changed row whose leaf hash was made to fit",
      (db) => {
        rewrite(db, 6, tags);
      },
      5,
      /rows 5 to 6 does not fit/,
    ],
    [
      "a changed column",
      (db) => {
        db.run("update rows set request_id = 'x' where seq = 6");
      },
      6,
      /request_id does not fit/,
    ],
    [
      "a changed type",
      (db) => {
        db.run("update rows set type = 'login.denied' where seq = 7");
      },
      7,
      /type does not fit/,
    ],
    [
      "a changed time",
      (db) => {
        db.run("update rows set time = '2020' where seq = 7");
      },
      7,
      /time does not fit/,
    ],
    [
      "a row that is not canonical",
      (db) => {
        const text = `${String(db.get("select row from rows where seq = 6")["row"])} `;
        db.run("update rows set row = ?, leaf_hash = ? where seq = 6", text, leafHash(text).toString("hex"));
      },
      6,
      /canonical/,
    ],
    [
      "a removed row",
      (db) => {
        db.run("delete from rows where seq = 6");
      },
      6,
      /is missing/,
    ],
    [
      "a removed first row",
      (db) => {
        db.run("delete from rows where seq = 1");
      },
      1,
      /is missing/,
    ],
    [
      "a removed row, the others moved up",
      (db) => {
        db.run("delete from rows where seq = 6");
        db.run("delete from personal where seq = 6");
        for (let seq = 7; seq <= 26; seq += 1)
          for (const table of ["rows", "personal"]) db.run(`update ${table} set seq = ? where seq = ?`, seq - 1, seq);
      },
      6,
      /another row's place/,
    ],
    [
      "swapped rows",
      (db) => {
        swap(db, 6, 8);
      },
      6,
      /another row's place/,
    ],
    [
      "swapped rows whose seq was made to fit",
      (db) => {
        swap(db, 6, 8);
        for (const seq of [6, 8])
          rewrite(db, seq, (row) => {
            row["seq"] = seq;
          });
      },
      5,
      /rows 5 to 6 does not fit/,
    ],
    [
      "a changed node",
      (db) => {
        db.run("update nodes set hash = ? where level = 2 and idx = 1", "0".repeat(64));
      },
      5,
      /rows 5 to 8 does not fit/,
    ],
    [
      "a removed node",
      (db) => {
        db.run("delete from nodes where level = 1 and idx = 0");
      },
      1,
      /rows 1 to 2 does not fit/,
    ],
    [
      "a node too many",
      (db) => {
        db.run("insert into nodes values (9, 0, 'x')");
      },
      undefined,
      /no row accounts for/,
    ],
    [
      "a changed personal record",
      (db) => {
        db.run("update personal set record = replace(record, 'jane', 'john') where seq = 2");
      },
      2,
      /personal record was changed/,
    ],
    [
      "a changed salt",
      (db) => {
        db.run("update personal set salt = '00' where seq = 2");
      },
      2,
      /personal record was changed/,
    ],
    [
      "a personal record where there was none",
      (db) => {
        db.run("insert into personal values (22, '00', '{}')");
      },
      22,
      /personal record was changed/,
    ],
    [
      "a personal record of no row",
      (db) => {
        db.run("insert into personal values (99, '00', '{}')");
      },
      99,
      /no row/,
    ],
    [
      "a session name given to another person",
      (db) => {
        db.run("update people set subject = 'mallory' where subject = '00u1'");
      },
      1,
      /somebody else/,
    ],
    [
      "a session name moved to another row's person",
      (db) => {
        db.run("update people set session_name = 'x@acme.example' where subject = '00u2'");
      },
      23,
      /somebody else/,
    ],
    [
      "a session name taken by another person, who erases the record that says whose it was",
      (db) => {
        db.run("update people set subject = 'mallory' where subject = '00u1'");
        db.run("delete from personal where seq = 1");
      },
      1,
      /somebody else/,
    ],
    [
      "a session name set free",
      (db) => {
        db.run("delete from people where subject = '00u1'");
      },
      1,
      /no longer recorded/,
    ],
    [
      "a session name that nothing bound",
      (db) => {
        db.run("insert into people values (2, 'okta', 'mallory', 'boss@acme.example', 1, '00')");
      },
      undefined,
      /no row bound/,
    ],
    [
      "a log rebuilt after a change, by its own checkpoints",
      (db) => {
        rewrite(db, 6, tags);
        rebuildTree(db, 26);
      },
      22,
      /checkpoint does not hold: the tree has another root/,
    ],
    [
      "a forged checkpoint",
      (db) => {
        const { privateKey } = generateKeyPairSync("ed25519");
        rewrite(db, 6, tags);
        for (const seq of [22, 26]) {
          rebuildTree(db, seq - 1);
          const tree = treeOf(db, seq - 1);
          const note = signCheckpoint(
            { name: CHECKPOINT_KEY.name, privateKey },
            { size: seq - 1, root: tree.root(), time: "now" },
          );
          rewrite(db, seq, (row) => {
            row["checkpoint"] = note;
          });
        }
        rebuildTree(db, 26);
      },
      22,
      /checkpoint does not hold: it is not signed by the key/,
    ],
  ])("finds %s", async (_, change, seq, message) => {
    attack(file, change);
    await expect(verifyFile(file)).rejects.toMatchObject({
      name: "VerifyFailure",
      seq,
      message: expect.stringMatching(message) as string,
    });
  });

  describe("with a checkpoint that was kept elsewhere, finds", () => {
    it.each([
      ["a forged one", (note: string) => note.replace("\n21\n", "\n20\n"), /signature does not hold/],
      ["one of another log", (note: string) => note.replaceAll("rolecall.acme", "other.acme"), /not signed by the key/],
      ["no checkpoint at all", () => "hello", /not a signed note/],
    ])("%s", async (_, forge, message) => {
      await expect(verifyFile(file, { checkpoints: [forge(kept)] })).rejects.toThrow(message);
    });

    it("no key to check it with", async () => {
      await expect(verifyFile(file, { checkpoints: [kept], verifier: undefined })).rejects.toThrow(/public key/);
    });
  });
});
