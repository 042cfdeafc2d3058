import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startBroker } from "../../src/app.ts";
import { auditVerify } from "../../src/operator/audit.ts";
import { withConfiguredLedger } from "../../src/operator/configured-ledger.ts";
import { attack, rebuildTree, rewrite, type Attacker } from "../support/ledger-attacker.ts";
import { recordingLog } from "../support/log.ts";
import { recordingIo } from "../support/operator-io.ts";
import { accessToken, claimsOf, credentials, JANE } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 29: whoever owns the ledger's database. A checkpoint that the broker printed, and somebody kept, finds it. */

let target: Target;
/** A folder of copies; every attack has its own. */
let copies: string;
/** Kept elsewhere, as the broker's log had it, and the rows that it covers. */
let checkpoint: string;
let covered: number;

beforeAll(async () => {
  target = await startTarget();
  copies = await mkdtemp(join(tmpdir(), "rolecall-copies-"));
  const jane = await accessToken(target, "okta", JANE);
  for (let i = 0; i < 5; i += 1) await credentials(target, jane);
  await cp(target.folder, join(copies, "backup"), { recursive: true });
  for (let i = 0; i < 5; i += 1) await credentials(target, jane);
  const note = await checkpointOf(target.folder);
  covered = Number(note.split("\n")[1]);
  checkpoint = join(copies, "checkpoint.txt");
  await writeFile(checkpoint, note);
  await credentials(target, await accessToken(target, "okta", claimsOf("okta", "Omar")));
});
afterAll(async () => {
  await target.close();
  await rm(copies, { recursive: true, force: true });
});

/** A broker that stops prints one last checkpoint. */
async function checkpointOf(stateDir: string): Promise<string> {
  const log = recordingLog();
  const stopped = await startBroker({ ...target.config, stateDir, listen: { host: "127.0.0.1", port: 0 } }, log);
  await stopped.close();
  return String(log.lines.findLast(({ message }) => message === "ledger checkpoint")?.fields["checkpoint"]);
}

/** `audit verify` on a copy after `work`, as the operator's command does it: without a checkpoint, and with the one that was kept. */
async function verifyAfter(
  name: string,
  work: (db: Attacker, rows: number) => void | Promise<void>,
  from = target.folder,
): Promise<{ alone: string; against: string; codes: number[] }> {
  const folder = join(copies, name);
  await cp(from, folder, { recursive: true });
  attack(join(folder, "ledger.db"), (db) => void work(db, Number(db.get("select max(seq) as n from rows")["n"])));
  const [alone, against] = [await verify(folder), await verify(folder, checkpoint)];
  return { alone: alone.said, against: against.said, codes: [alone.code, against.code] };
}

/** `audit verify` in this process: another one each time would take longer than all the rest. */
async function verify(folder: string, ...checkpointFiles: string[]): Promise<{ code: number; said: string }> {
  const io = recordingIo({});
  const code = await withConfiguredLedger(join(folder, "rolecall.yaml"), io, ({ ledger, checkpointKey }) =>
    auditVerify({ ledger, checkpointPublicKey: checkpointKey, checkpointFiles }, io),
  );
  return { code, said: io.stdout() + io.stderr() };
}

function cut(db: Attacker, last: number): void {
  for (const table of ["people", "personal", "rows"]) db.run(`delete from ${table} where seq > ?`, last);
  rebuildTree(db, last);
}

/** Somebody else's credentials become Jane's: what such an attacker wants. */
function frame(row: Record<string, unknown>): void {
  row["sessionName"] = "omar@acme.example";
}

test("an honest record holds, and the checkpoint proves it up to there", async () => {
  const { alone, against, codes } = await verifyAfter("honest", () => undefined);
  expect(codes).toEqual([0, 0]);
  expect(alone).toContain("completeness not proven");
  expect(against).toContain(`nothing up to row ${covered} was changed, removed or reordered`);
});

test("so does one whose personal data was erased when its time was over", async () => {
  const { codes } = await verifyAfter("erased", (db) => {
    db.run("delete from personal where seq < 5");
  });
  expect(codes).toEqual([0, 0]);
});

test("a tail that was cut, its tree made to fit: found by the checkpoint alone", async () => {
  const { against, codes } = await verifyAfter("cut", (db) => {
    cut(db, covered - 2);
  });
  expect(codes).toEqual([0, 1]);
  expect(against).toMatch(new RegExp(`made of ${covered} rows`));
});

test("a row that was changed, and everything rebuilt over it: found by the checkpoint alone", async () => {
  const { against, codes } = await verifyAfter("rebuilt", (db) => {
    cut(db, covered);
    rewrite(db, covered - 1, frame);
    rebuildTree(db, covered);
  });
  expect(codes).toEqual([0, 1]);
  expect(against).toContain(`rows 1 to ${covered} are not those of the checkpoint`);
});

test("a backup that was restored, and gone on from there: found by the checkpoint alone", async () => {
  const folder = join(copies, "backup");
  for (let i = 0; i < 2; i += 1) await checkpointOf(folder);
  const { against, codes } = await verifyAfter("restored", () => undefined, folder);
  expect(codes).toEqual([0, 1]);
  expect(against).toMatch(/rows 1 to \d+ are not those of the checkpoint|made of \d+ rows/);
});

test.for<[string, (db: Attacker) => void]>([
  [
    "a row changed",
    (db) => {
      db.run("update rows set row = replace(row, 'cc-1042', 'cc-9999')");
    },
  ],
  [
    "a row gone",
    (db) => {
      db.run("delete from personal where seq = 7");
      db.run("delete from rows where seq = 7");
    },
  ],
  [
    "a name given to another person",
    (db) => {
      db.run("update people set subject = '00u-thief' where session_name = 'jane@acme.example'");
    },
  ],
  [
    "personal data changed",
    (db) => {
      db.run("update personal set record = replace(record, 'jane', 'omar')");
    },
  ],
])("%s, without rebuilding: found without any checkpoint", async ([name, work]) => {
  const { codes } = await verifyAfter(name.replaceAll(" ", "-"), work);
  expect(codes).toEqual([1, 1]);
});
