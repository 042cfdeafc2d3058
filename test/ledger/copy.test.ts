import { createPublicKey } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openKeys } from "../../src/keys/key-file.ts";
import { importCheckpointKey } from "../../src/keys/key-format.ts";
import type { CheckpointKey } from "../../src/ledger/checkpoint.ts";
import { openLedger, type Ledger, type LedgerOptions } from "../../src/ledger/ledger.ts";
import { withConfiguredLedger } from "../../src/operator/configured-ledger.ts";
import { ledgerCopy } from "../../src/operator/ledger-copy.ts";
import { changed, configFolder, type ConfigFolder } from "../support/config-file.ts";
import { boundEvent, entriesAt, issued, requested, verifyAt } from "../support/ledger.ts";
import { attack } from "../support/ledger-attacker.ts";
import { recordingLog } from "../support/log.ts";
import { recordingIo } from "../support/operator-io.ts";
import { startPostgres, type TestDatabase, type TestPostgres } from "../support/postgres.ts";

describe("rolecall-broker ledger copy", () => {
  let postgres: TestPostgres;
  let database: TestDatabase;
  let folder: ConfigFolder;
  let config: string;
  let file: string;
  let options: LedgerOptions & { checkpointKey: CheckpointKey };
  let note: string;
  const jane = { directory: "okta", subject: "00u1", email: "jane@acme.example" };

  beforeAll(async () => {
    postgres = await startPostgres();
  });

  afterAll(async () => {
    await postgres.remove();
  });

  beforeEach(async () => {
    database = await postgres.database();
    folder = configFolder();
    const ledger = { url: { env: "DATABASE_URL" } };
    config = folder.write("rolecall.yaml", { ...changed("ledger", ledger), environment: "development" });
    file = join(folder.path, "state", "ledger.db");
    const settings = { signingAlgorithm: "ES256", origin: "rolecall.acme.example" } as const;
    const { checkpoint } = await openKeys(join(folder.path, "state"), settings);
    if (checkpoint === undefined) throw new Error("no checkpoint key");
    options = { checkpointKey: importCheckpointKey(checkpoint), log: recordingLog() };
    const sqlite = await openLedger({ file, ...options });
    await sqlite.bind(jane, "jane@acme.example", boundEvent(jane, "jane@acme.example"));
    // More than a page of every table.
    await Promise.all(Array.from({ length: 600 }, (_, i) => sqlite.append(requested(`r${i}`))));
    note = (await sqlite.checkpoint()) ?? "";
    await Promise.all(
      Array.from({ length: 601 }, (_, i) => sqlite.append(issued(`r${i % 600}`)).catch(() => undefined)),
    );
    await sqlite.close();
    attack(file, (db) => {
      db.run("delete from personal where seq = 7");
    });
  });

  afterEach(async () => {
    await database.drop();
    folder[Symbol.dispose]();
  });

  async function copy(env: Record<string, string> = { DATABASE_URL: database.broker }, json?: true) {
    const io = recordingIo(env);
    const code = await withConfiguredLedger(config, io, (ledger) => ledgerCopy(ledger, json ? { json } : {}, io));
    expect(io.stdout() + io.stderr()).not.toMatch(/hunter2|postgres:\/\//);
    return { code, out: io.stdout(), err: io.stderr() };
  }

  const verifier = () => {
    const { name, privateKey } = options.checkpointKey;
    return { name, publicKey: createPublicKey(privateKey) };
  };

  it("keeps every row, record, hash, name and proof, and the log goes on from there", async () => {
    const place = { url: database.broker };
    const before = await entriesAt({ file });
    const { code, out } = await copy(undefined, true);
    expect(code).toBe(0);
    const report = await verifyAt(place, { verifier: verifier(), checkpoints: [note] });
    expect(JSON.parse(out)).toEqual({ ok: true, ...report, provenTo: 0 });
    expect(report).toMatchObject({ provenTo: 601, erased: 1, rows: before.length });
    expect(report).toEqual(await verifyAt({ file }, { verifier: verifier(), checkpoints: [note] }));
    expect(await entriesAt(place)).toEqual(before);

    const ledger: Ledger = await openLedger({ ...place, ...options });
    expect(await ledger.sessionNameOf(jane)).toBe("jane@acme.example");
    await expect(ledger.append(issued("r1"))).rejects.toThrow(/its outcome already/);
    expect(await ledger.append(requested("new"))).toEqual({ seq: before.length + 1 });
    await ledger.close();
    await verifyAt(place, { verifier: verifier(), checkpoints: [note] });
  });

  it("says what it copied", async () => {
    const { code, out } = await copy();
    expect([code, out]).toEqual([
      0,
      expect.stringMatching(/^copied 1\d{3} rows, root .*\n2 checkpoints in the log hold/),
    ]);
  });

  it("refuses a database that is not empty, and changes nothing in it", async () => {
    const other = await openLedger({ url: database.broker, ...options });
    await other.append(requested("other"));
    await other.close();
    const before = await entriesAt({ url: database.broker });
    expect(await copy()).toMatchObject({ code: 1, err: "error: the ledger to copy to is not empty\n" });
    expect(await entriesAt({ url: database.broker })).toEqual(before);
  });

  it("refuses a record that does not hold, and writes nothing", async () => {
    attack(file, (db) => {
      db.run("update rows set row = replace(row, 'okta', 'atko') where seq = 900");
    });
    expect(await copy()).toMatchObject({ code: 1, err: expect.stringMatching(/row 900: was changed/) as string });
    expect(await entriesAt({ url: database.broker })).toEqual([]);
  });

  it("refuses a record that was signed with another key", async () => {
    const keys = join(folder.path, "state", "keys.json");
    const other = configFolder();
    await openKeys(other.path, { signingAlgorithm: "ES256", origin: "rolecall.acme.example" });
    writeFileSync(keys, readFileSync(join(other.path, "keys.json")));
    other[Symbol.dispose]();
    expect(await copy()).toMatchObject({ code: 1, err: expect.stringMatching(/checkpoint does not hold/) as string });
    expect(await entriesAt({ url: database.broker })).toEqual([]);
  });

  it.each<[string, () => Record<string, string>, number, RegExp]>([
    ["a database that can't be reached", () => ({ DATABASE_URL: "postgres://b:hunter2@127.0.0.1:1/l" }), 1, /reached/],
    ["a variable that isn't set", () => ({}), 1, /DATABASE_URL is not set/],
  ])("says so for %s", async (_, env, code, message) => {
    expect(await copy(env())).toMatchObject({ code, err: expect.stringMatching(message) as string });
  });

  it("is wrong usage without a file or without ledger.url", async () => {
    config = folder.write("plain.yaml", { ...changed("ledger", undefined), environment: "development" });
    expect(await copy()).toMatchObject({ code: 2, err: expect.stringMatching(/ledger.url is not set/) as string });
    const elsewhere = { ...changed("ledger", { url: { env: "DATABASE_URL" } }), stateDir: "nowhere" };
    config = folder.write("elsewhere.yaml", { ...elsewhere, environment: "development" });
    expect(await copy()).toMatchObject({ code: 2, err: expect.stringMatching(/there is no ledger at/) as string });
  });
});
