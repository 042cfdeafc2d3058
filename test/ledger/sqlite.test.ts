import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openLedger, type Ledger } from "../../src/ledger/ledger.ts";
import { CHECKPOINT_KEY, entriesOf, issued, requested, temporaryFolder, verifyFile } from "../support/ledger.ts";
import { recordingLog } from "../support/log.ts";
import { ledgerConformance, type Bench } from "./conformance.ts";
import { peopleConformance } from "./conformance-people.ts";

const options = { checkpointKey: CHECKPOINT_KEY, log: recordingLog() };

const makeBench = (): Bench => {
  const { folder, remove } = temporaryFolder();
  const file = join(folder, "ledger.db");
  return {
    place: { file },
    open: (more) => openLedger({ file, ...options, deadlineMs: 20_000, ...more }),
    entries: () => entriesOf(file),
    remove,
  };
};

ledgerConformance("SQLite", makeBench);
peopleConformance("SQLite", makeBench);

describe("the ledger's file", () => {
  let folder: string;
  let remove: () => void;
  let ledger: Ledger | undefined;

  beforeEach(() => {
    ({ folder, remove } = temporaryFolder());
  });

  afterEach(async () => {
    await ledger?.close();
    ledger = undefined;
    remove();
  });

  it("is made for its owner alone, with its folder", async () => {
    const file = join(folder, "state", "deep", "ledger.db");
    ledger = await openLedger({ file, ...options });
    await ledger.append(requested("r"));
    const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);
    expect([mode(file), mode(`${file}-wal`), mode(join(folder, "state"))]).toEqual(["600", "600", "700"]);
  });

  it.each<[string, (file: string) => void, RegExp]>([
    [
      "a folder lies there",
      (file) => {
        mkdirSync(file);
      },
      /not a file/,
    ],
    [
      "another kind of file lies there",
      (file) => {
        writeFileSync(file, "x".repeat(5000));
      },
      /not a ledger/,
    ],
    [
      "a file is where its folder should be",
      (file) => {
        writeFileSync(join(file, ".."), "");
      },
      /can't be opened/,
    ],
    [
      "it may not be written",
      (file) => {
        writeFileSync(file, "", { mode: 0o400 });
      },
      /not writable/,
    ],
  ])("is refused with a sentence where %s", async (what, break_, message) => {
    const file = join(folder, what.includes("folder should") ? "state/ledger.db" : "ledger.db");
    break_(file);
    const opening = openLedger({ file, ...options });
    await expect(opening).rejects.toMatchObject({
      code: "ledger_unavailable",
      message: expect.stringMatching(message) as string,
    });
  });

  it("is refused when its tables are another version's", async () => {
    const { DatabaseSync } = await import("node:sqlite");
    const file = join(folder, "ledger.db");
    await (await openLedger({ file, ...options })).close();
    const db = new DatabaseSync(file);
    db.exec("update meta set value = '4' where key = 'version'");
    db.close();
    await expect(openLedger({ file, ...options })).rejects.toThrow(/have the version 4/);
  });

  it("does not let this program change or remove a row", async () => {
    const { DatabaseSync } = await import("node:sqlite");
    const file = join(folder, "ledger.db");
    ledger = await openLedger({ file, ...options });
    await ledger.append(requested("r"));
    const db = new DatabaseSync(file);
    for (const change of ["update rows set type = 'x'", "delete from rows", "delete from nodes"]) {
      if (change.endsWith("nodes")) db.exec("insert into nodes values (9, 9, 'x')");
      expect(() => {
        db.exec(change);
      }, change).toThrow(/append-only/);
    }
    db.close();
  });

  it("gives every caller of one moment one transaction", async () => {
    const file = join(folder, "ledger.db");
    ledger = await openLedger({ file, ...options });
    await Promise.all(Array.from({ length: 150 }, (_, i) => (ledger as Ledger).append(requested(`r${i}`))));
    expect(new Set((await entriesOf(file)).map(({ time }) => time)).size).toBe(1);
  });

  it("is whole after many turns of requests, outcomes and checkpoints", async () => {
    const file = join(folder, "ledger.db");
    ledger = await openLedger({ file, ...options });
    for (let i = 0; i < 30; i += 1) {
      await ledger.append(requested(`r${i}`));
      await ledger.append(issued(`r${i}`));
      if (i % 7 === 0) await ledger.checkpoint();
    }
    expect(await verifyFile(file)).toMatchObject({ rows: 65, checkpoints: 5, erased: 0, provenTo: 0 });
  });
});
