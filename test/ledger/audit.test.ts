import { createPublicKey } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { parse } from "csv-parse/sync";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { verifierKey } from "../../src/ledger/checkpoint.ts";
import { openLedger, type Ledger } from "../../src/ledger/ledger.ts";
import { auditExport, auditTail, auditVerify, type AuditIo } from "../../src/operator/audit.ts";
import { CHECKPOINT_KEY, issued, requested, temporaryFolder, VERIFIER } from "../support/ledger.ts";
import { recordingLog } from "../support/log.ts";

function recordingIo(): AuditIo & { stdout: string; stderr: string } {
  const io = {
    stdout: "",
    stderr: "",
    out: (text: string): void => void (io.stdout += text),
    err: (text: string): void => void (io.stderr += text),
  };
  return io;
}

describe("rolecall-broker audit, beside a running broker", () => {
  let folder: string;
  let file: string;
  let remove: () => void;
  let ledger: Ledger;

  beforeEach(async () => {
    ({ folder, remove } = temporaryFolder());
    file = join(folder, "ledger.db");
    ledger = await openLedger({ file, checkpointKey: CHECKPOINT_KEY, log: recordingLog() });
    await ledger.append(requested("r1", { tags: { team: "search" }, sessionName: "jane@acme.example" }));
    await ledger.append(issued("r1"));
  });

  afterEach(async () => {
    await ledger.close();
    remove();
  });

  it("verify: 0 and what is proven", async () => {
    const io = recordingIo();
    expect(await auditVerify({ ledger: { file }, checkpointPublicKey: VERIFIER }, io)).toBe(0);
    expect(io.stdout).toMatch(/^consistent; completeness not proven/);
    expect(io.stdout).toContain("2 rows, root ");
    expect(io.stderr).toBe("");
  });

  it("verify --checkpoint: 0 and how far, with the key as text", async () => {
    const note = join(folder, "note");
    writeFileSync(note, (await ledger.checkpoint()) ?? "");
    const io = recordingIo();
    const key = verifierKey({ name: CHECKPOINT_KEY.name, publicKey: createPublicKey(CHECKPOINT_KEY.privateKey) });
    const options = { ledger: { file }, checkpointPublicKey: key, checkpointFiles: [note], json: true };
    expect(await auditVerify(options, io)).toBe(0);
    expect(JSON.parse(io.stdout)).toMatchObject({ ok: true, rows: 3, checkpoints: 1, provenTo: 2, erased: 0 });
  });

  it("verify: 1 and the row that is at fault", async () => {
    const db = new DatabaseSync(file);
    db.exec("drop trigger rows_no_update; update rows set row = replace(row, 'search', 'finance') where seq = 1");
    db.close();
    const io = recordingIo();
    expect(await auditVerify({ ledger: { file } }, io)).toBe(1);
    expect([io.stdout, io.stderr]).toEqual(["", "error: row 1: was changed: its leaf hash does not fit\n"]);
    const json = recordingIo();
    expect(await auditVerify({ ledger: { file }, json: true }, json)).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({ ok: false, seq: 1 });
  });

  it.each([
    [
      "no ledger",
      { ledger: { file: "/nowhere/ledger.db" } },
      /there is no file \/nowhere\/ledger\.db\nhint: .*stateDir/,
    ],
    ["no checkpoint file", { checkpointFiles: ["/nowhere/note"] }, /there is no file \/nowhere\/note/],
    ["a key that is none", { checkpointPublicKey: "hello" }, /verifier key/],
  ])("verify: 2 where there is %s", async (_, wrong, message) => {
    const io = recordingIo();
    expect(await auditVerify({ ledger: { file }, ...wrong }, io)).toBe(2);
    expect(io.stderr).toMatch(message);
  });

  it("verify: 1 where the file is no ledger", async () => {
    const other = join(folder, "other");
    writeFileSync(other, "x".repeat(5000));
    const io = recordingIo();
    expect(await auditVerify({ ledger: { file: other } }, io)).toBe(1);
    expect(io.stderr).toMatch(/not a ledger/);
  });

  it("export: JSON Lines with the personal data in", async () => {
    const io = recordingIo();
    expect(await auditExport({ ledger: { file } }, io)).toBe(0);
    const lines = io.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown);
    expect(lines).toMatchObject([
      { seq: 1, type: "credentials.requested", email: "jane@acme.example", tags: { team: "search" } },
      { seq: 2, type: "credentials.issued" },
    ]);
  });

  it("export --format csv: cells that a spreadsheet would run are text", async () => {
    const nasty = ["=cmd", "+1", "-1", "@sum", "\tx", "\rx", "\0x", 'a "quoted", cell\r\nof two lines', "plain"];
    for (const userAgent of nasty) await ledger.append({ type: "login.denied", userAgent });
    const io = recordingIo();
    expect(await auditExport({ ledger: { file }, format: "csv" }, io)).toBe(0);
    const rows: Record<string, string>[] = parse(io.stdout, { columns: true, record_delimiter: "\r\n" });
    expect(rows.slice(2).map((row) => row["userAgent"])).toEqual([
      ...nasty.slice(0, 7).map((text) => `'${text}`),
      ...nasty.slice(7),
    ]);
    expect(rows[0]).toMatchObject({ seq: "1", tags: '{"team":"search"}', email: "jane@acme.example", reason: "" });
  });

  it("tail: the last entries, then each new one until it is stopped", async () => {
    const stop = new AbortController();
    const lines: string[] = [];
    let seen = (): void => undefined;
    const io: AuditIo = {
      out: (text) => {
        lines.push(text);
        seen();
      },
      err: () => undefined,
      signal: stop.signal,
    };
    const shown = (count: number): Promise<void> =>
      new Promise((resolve) => {
        seen = () => {
          if (lines.length >= count) resolve();
        };
        seen();
      });
    const tail = auditTail({ ledger: { file }, lines: 1 }, io);
    await shown(1);
    await ledger.append({ type: "login.denied", email: "a\u001b[2J\u202eb", reason: "idp_denied" });
    await shown(2);
    stop.abort();
    expect(await tail).toBe(0);
    expect(lines[0]).toMatch(/^\S+Z {2}2 {2}credentials\.issued\n$/);
    expect(lines[1]).toMatch(/^\S+Z {2}3 {2}login\.denied {2}a\\u\{1b\}\[2J\\u\{202e\}b {2}idp_denied\n$/);
  });
});
