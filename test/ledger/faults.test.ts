import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, renameSync, rmdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openLedger, type Ledger } from "../../src/ledger/ledger.ts";
import {
  CHECKPOINT_KEY,
  boundEvent,
  entriesOf,
  issued,
  requested,
  temporaryFolder,
  verifyFile,
} from "../support/ledger.ts";
import { attack, rebuildTree, rewrite, type Attacker } from "../support/ledger-attacker.ts";
import { recordingLog } from "../support/log.ts";
import { startChild } from "../support/ledger-child.ts";

/** Copied by another process: closing a file in this one would drop SQLite's locks on it (fcntl). */
function copy(from: string, to: string): void {
  execFileSync("cp", ["--", from, to]);
}

/** The file with its write-ahead log. */
function moveAway(file: string): void {
  renameSync(file, `${file}.away`);
  renameSync(`${file}-wal`, `${file}-wal.away`);
}

function moveBack(file: string): void {
  renameSync(`${file}-wal.away`, `${file}-wal`);
  renameSync(`${file}.away`, file);
}

/** Puts a copy of all that the ledger holds in its place, after `change` was made to it. */
function replaceByCopy(file: string, change: (db: Attacker) => void): void {
  attack(file, (db) => {
    db.run("vacuum into ?", `${file}.copy`);
  });
  attack(`${file}.copy`, change);
  moveAway(file);
  renameSync(`${file}.copy`, file);
}

interface Fault {
  readonly break: (file: string) => Promise<void> | void;
  readonly mend: (file: string) => Promise<void> | void;
  readonly says: RegExp;
}

const held: { kill: () => Promise<void> }[] = [];

const FAULTS: Readonly<Record<string, Fault>> = {
  "the file has no write bit": {
    break: (file) => {
      chmodSync(file, 0o444);
    },
    mend: (file) => {
      chmodSync(file, 0o600);
    },
    says: /not writable/,
  },
  "the file may not even be read": {
    break: (file) => {
      chmodSync(file, 0);
    },
    mend: (file) => {
      chmodSync(file, 0o600);
    },
    says: /not writable/,
  },
  "the folder has no write bit": {
    break: (file) => {
      chmodSync(dirname(file), 0o555);
    },
    mend: (file) => {
      chmodSync(dirname(file), 0o700);
    },
    says: /folder is not writable/,
  },
  "the file was moved away": {
    break: (file) => {
      renameSync(file, `${file}.away`);
    },
    mend: (file) => {
      renameSync(`${file}.away`, file);
    },
    says: /missing/,
  },
  "the folder was moved away": {
    break: (file) => {
      renameSync(dirname(file), `${dirname(file)}.away`);
    },
    mend: (file) => {
      renameSync(`${dirname(file)}.away`, dirname(file));
    },
    says: /missing/,
  },
  "the file was removed, and comes back as a copy": {
    break: (file) => {
      copy(file, `${file}.copy`);
      rmSync(file);
    },
    mend: (file) => {
      copy(`${file}.copy`, file);
    },
    says: /missing/,
  },
  "a folder lies in the file's place": {
    break: (file) => {
      renameSync(file, `${file}.away`);
      mkdirSync(file);
    },
    mend: (file) => {
      rmdirSync(file);
      renameSync(`${file}.away`, file);
    },
    says: /not a file/,
  },
  "an empty file lies in its place": {
    break: (file) => {
      renameSync(file, `${file}.away`);
      writeFileSync(file, "");
    },
    mend: (file) => {
      renameSync(`${file}.away`, file);
    },
    says: /./,
  },
  "another program's file lies in its place": {
    break: (file) => {
      renameSync(file, `${file}.away`);
      writeFileSync(file, "x".repeat(9000));
    },
    mend: (file) => {
      renameSync(`${file}.away`, file);
    },
    says: /not a ledger|damaged/,
  },
  "another ledger lies in its place, beside our write-ahead log": {
    break: async (file) => {
      const other = `${file}.other`;
      const ledger = await openLedger({ file: other, checkpointKey: CHECKPOINT_KEY, log: recordingLog() });
      await Promise.all(Array.from({ length: 500 }, (_, i) => ledger.append(requested(`other-${i}`))));
      await ledger.close();
      renameSync(file, `${file}.away`);
      renameSync(other, file);
    },
    mend: (file) => {
      renameSync(`${file}.away`, file);
    },
    says: /./,
  },
  "another ledger lies in its place": {
    break: async (file) => {
      const other = `${file}.other`;
      const ledger = await openLedger({ file: other, checkpointKey: CHECKPOINT_KEY, log: recordingLog() });
      await Promise.all(Array.from({ length: 500 }, (_, i) => ledger.append(requested(`other-${i}`))));
      await ledger.close();
      moveAway(file);
      renameSync(other, file);
    },
    mend: moveBack,
    says: /does not continue the record that this broker has written: row \d+ is another one/,
  },
  "an older state of the file lies in its place": {
    break: (file) => {
      moveAway(file);
      copy(`${file}.first`, file);
    },
    mend: moveBack,
    says: /does not continue the record that this broker has written: row \d+ is missing/,
  },
  "its last row was removed by another hand": {
    break: (file) => {
      attack(file, (db) => {
        db.run("create table stolen as select * from rows order by seq desc limit 1");
        db.run("delete from rows where seq = (select seq from stolen)");
      });
    },
    mend: (file) => {
      attack(file, (db) => {
        db.run("insert into rows select * from stolen");
        db.run("drop table stolen");
      });
    },
    says: /does not continue the record that this broker has written: row \d+ is missing/,
  },
  "a copy with a changed past lies in its place": {
    break: (file) => {
      replaceByCopy(file, (db) => {
        db.run("update rows set row = replace(row, 'jane', 'john'), time = 'x' where seq = 5");
      });
    },
    mend: moveBack,
    says: /row 5: /,
  },
  "a copy with a past that was rebuilt whole lies in its place": {
    break: (file) => {
      replaceByCopy(file, (db) => {
        rewrite(db, 5, (row) => {
          row["tags"] = { team: "somebody-else" };
        });
        rebuildTree(db, Number(db.get("select max(seq) seq from rows")["seq"]));
      });
    },
    mend: moveBack,
    says: /is another log/,
  },
  "another process holds its lock": {
    break: async (file) => {
      held.push(await startChild({ file }, "hold"));
    },
    mend: async () => {
      await held.pop()?.kill();
    },
    says: /lock|did not answer/,
  },
  "it was overwritten with rubbish": {
    break: (file) => {
      copy(file, `${file}.copy`);
      execFileSync("dd", ["if=/dev/urandom", `of=${file}`, "bs=4096", "count=40", "conv=notrunc", "status=none"]);
    },
    mend: (file) => {
      copy(`${file}.copy`, file);
    },
    says: /./,
  },
  "it was cut short": {
    break: (file) => {
      copy(file, `${file}.copy`);
      truncateSync(file, 4096);
    },
    mend: (file) => {
      copy(`${file}.copy`, file);
    },
    says: /cut short/,
  },
  "it was emptied": {
    break: (file) => {
      copy(file, `${file}.copy`);
      truncateSync(file, 0);
    },
    mend: (file) => {
      copy(`${file}.copy`, file);
    },
    says: /cut short/,
  },
};

describe("no record, no credentials: the disk broken at every step (law 1)", () => {
  let root: string;
  let file: string;
  let remove: () => void;
  let ledger: Ledger;
  const jane = { directory: "okta", subject: "00u1", email: "jane@acme.example" };

  beforeEach(async () => {
    const temporary = temporaryFolder();
    ({ folder: root, remove } = temporary);
    file = join(root, "state", "ledger.db");
    const options = { file, checkpointKey: CHECKPOINT_KEY, log: recordingLog(), deadlineMs: 1000 };
    const first = await openLedger(options);
    // Enough for many pages, so that what lies in the file is not all in the write-ahead log too.
    await Promise.all(Array.from({ length: 400 }, (_, i) => first.append(requested(`first-${i}`))));
    await first.close();
    copy(file, `${file}.first`);
    ledger = await openLedger(options);
    await ledger.bind(jane, "jane@acme.example", boundEvent(jane, "jane@acme.example"));
    for (let i = 0; i < 20; i += 1) await ledger.append(requested(`before-${i}`));
  });

  afterEach(async () => {
    await Promise.all(held.splice(0).map((child) => child.kill()));
    await ledger.close();
    remove();
  });

  describe.each(Object.entries(FAULTS))("%s", (_, fault) => {
    it("refuses every append while it lasts, and works again after, without a restart", async () => {
      const before = (await ledger.append(requested("last"))).seq;
      await fault.break(file);
      const refusals = await Promise.allSettled([
        ledger.append(issued("last")),
        ledger.append(requested("new")),
        ledger.bind({ ...jane, subject: "00u2" }, "john@acme.example", boundEvent(jane, "john@acme.example")),
      ]);
      for (const refusal of refusals) {
        expect(refusal).toMatchObject({ status: "rejected", reason: { code: "ledger_unavailable" } });
        expect((refusal as PromiseRejectedResult).reason).toMatchObject({
          message: expect.stringMatching(fault.says) as string,
        });
      }
      expect(await ledger.state()).toMatchObject({ writable: false });

      await fault.mend(file);
      expect(await ledger.sessionNameOf(jane)).toBe("jane@acme.example");
      expect(await ledger.append(issued("last"))).toEqual({ seq: before + 1 });
      expect(await ledger.state()).toEqual({ writable: true });
      await ledger.close();
      await verifyFile(file);
      const ids = (await entriesOf(file)).filter(({ type }) => type !== "checkpoint").map(({ requestId }) => requestId);
      expect(ids.slice(-2)).toEqual(["last", "last"]);
      expect(ids).not.toContain("new");
    });
  });

  it("tells operators once that it fails and once that it is mended, and prints its checkpoints", async () => {
    const log = recordingLog();
    const told = await openLedger({
      file: join(root, "told.db"),
      checkpointKey: CHECKPOINT_KEY,
      log,
      deadlineMs: 1000,
    });
    chmodSync(join(root, "told.db"), 0o400);
    for (let i = 0; i < 3; i += 1) await expect(told.append(requested(`r${i}`))).rejects.toThrow();
    chmodSync(join(root, "told.db"), 0o600);
    for (let i = 0; i < 3; i += 1) await told.append(requested(`r${i}`));
    const note = await told.checkpoint();
    await told.close();
    expect(log.lines).toEqual([
      {
        level: "error",
        fields: { reason: "the ledger's file is not writable" },
        message: "the ledger can't be written: no credentials until it is mended",
      },
      { level: "info", fields: {}, message: "the ledger can be written again" },
      { level: "info", fields: { checkpoint: note }, message: "ledger checkpoint" },
    ]);
  });

  it("keeps what was written when the write-ahead log is removed under it", async () => {
    rmSync(`${file}-wal`);
    const { seq } = await ledger.append(issued("before-0"));
    expect(existsSync(`${file}-wal`)).toBe(true);
    // As after a power cut: what lies on the disk now is all there is.
    const copied = join(root, "copied.db");
    copy(file, copied);
    copy(`${file}-wal`, `${copied}-wal`);
    expect(await verifyFile(copied)).toMatchObject({ rows: seq });
    expect(await ledger.sessionNameOf(jane)).toBe("jane@acme.example");
  });
});
