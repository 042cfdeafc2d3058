import { createPublicKey } from "node:crypto";
import { copyFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkpointKeyOf } from "../../src/keys/checkpoint-key.ts";
import { openKeys } from "../../src/keys/key-file.ts";
import type { CheckpointKey } from "../../src/ledger/checkpoint.ts";
import { openLedger, type Ledger, type LedgerOptions } from "../../src/ledger/ledger.ts";
import { withConfiguredLedger } from "../../src/operator/configured-ledger.ts";
import { ledgerBackup } from "../../src/operator/ledger-backup.ts";
import { configFolder, productionConfig, type ConfigFolder } from "../support/config-file.ts";
import { boundEvent, entriesAt, issued, requested, verifyAt } from "../support/ledger.ts";
import { attack } from "../support/ledger-attacker.ts";
import { recordingLog } from "../support/log.ts";
import { recordingIo } from "../support/operator-io.ts";
import { webConfig } from "../support/web.ts";

describe("rolecall-broker ledger backup", () => {
  const jane = { directory: "okta", subject: "jane", email: "jane@acme.example" };
  let folder: ConfigFolder;
  let config: string;
  let file: string;
  let backup: string;
  let options: LedgerOptions & { checkpointKey: CheckpointKey };
  let ledger: Ledger;

  beforeEach(async () => {
    folder = configFolder();
    config = folder.write("rolecall.yaml", { ...productionConfig(), environment: "development" });
    const state = join(folder.path, "state");
    file = join(state, "ledger.db");
    backup = join(folder.path, "backup.db");
    const keys = await openKeys(state, { signingAlgorithm: "ES256", origin: "rolecall.acme.example" });
    options = { checkpointKey: checkpointKeyOf(keys, { checkpointKey: undefined }), log: recordingLog() };
    ledger = await openLedger({ file, ...options });
    await ledger.bind(jane, jane.email, boundEvent(jane, jane.email));
    await Promise.all(Array.from({ length: 300 }, (_, i) => ledger.append(requested(`r${i}`))));
    await ledger.checkpoint();
  });

  afterEach(async () => {
    await ledger.close();
    folder[Symbol.dispose]();
  });

  async function run(json?: true): Promise<{ code: number; out: string; err: string }> {
    const io = recordingIo({});
    const code = await withConfiguredLedger(config, io, (it) =>
      ledgerBackup(it, { file: backup, ...(json && { json }) }, io),
    );
    return { code, out: io.stdout(), err: io.stderr() };
  }

  const verifier = () => {
    const { name, privateKey } = options.checkpointKey;
    return { name, publicKey: createPublicKey(privateKey) };
  };

  it("is one file, for its owner alone, that a broker goes on from", async () => {
    const before = await entriesAt({ file });
    const { code, out } = await run(true);
    expect(code).toBe(0);
    expect(statSync(backup).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder.path).filter((name) => name.startsWith("backup"))).toEqual(["backup.db"]);
    expect(JSON.parse(out)).toMatchObject({ ok: true, file: backup, rows: before.length, checkpoints: 1 });

    await ledger.close();
    for (const suffix of ["", "-wal", "-shm"]) rmSync(`${file}${suffix}`, { force: true });
    copyFileSync(backup, file);
    ledger = await openLedger({ file, ...options });
    expect(await entriesAt({ file })).toEqual(before);
    expect(await ledger.sessionNameOf(jane)).toBe(jane.email);
    expect(await ledger.append(issued("r7"))).toEqual({ seq: before.length + 1 });
  });

  it("holds one moment of a record that is written to meanwhile", async () => {
    const done = new AbortController();
    const written = (async () => {
      for (let i = 0; !done.signal.aborted; i++) await ledger.append(requested(`meanwhile-${i}`));
    })();
    const { code } = await run();
    done.abort();
    await written;
    expect(code).toBe(0);
    const kept = await entriesAt({ file: backup });
    expect((await verifyAt({ file: backup }, { verifier: verifier() })).rows).toBe(kept.length);
    expect((await entriesAt({ file })).slice(0, kept.length)).toEqual(kept);
  });

  it("never takes another file's place", async () => {
    writeFileSync(backup, "mine");
    expect(await run()).toMatchObject({ code: 1, err: expect.stringMatching(/backup.db is there already/) as string });
    expect(statSync(backup).size).toBe(4);
  });

  it("leaves nothing behind of a record that does not hold", async () => {
    attack(file, (db) => {
      db.run("update rows set row = replace(row, 'okta', 'atko') where seq = 9");
    });
    expect(await run()).toMatchObject({ code: 1, err: expect.stringMatching(/row 9: was changed/) as string });
    expect(readdirSync(folder.path).filter((name) => name.startsWith("backup"))).toEqual([]);
  });

  it.each<[string, () => string, number, RegExp]>([
    ["a folder that isn't there", () => join(folder.path, "nowhere", "backup.db"), 1, /no such file or directory/],
    ["its own place", () => file, 1, /is there already/],
  ])("says so for %s", async (_, path, code, message) => {
    backup = path();
    expect(await run()).toMatchObject({ code, err: expect.stringMatching(message) as string });
  });

  it("is wrong usage where the record is in PostgreSQL", async () => {
    const io = recordingIo({});
    const config = webConfig("https://rolecall.acme.example");
    const place = { config, ledger: { url: "postgres://b:hunter2@127.0.0.1/l" }, ledgerFile: file };
    const never = () => Promise.reject(new Error("not asked"));
    expect(await ledgerBackup({ ...place, checkpointKey: never }, { file: backup }, io)).toBe(2);
    expect(io.stderr()).toBe("error: the record is in PostgreSQL: back it up with pg_dump\n");
  });
});
