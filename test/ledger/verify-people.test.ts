import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { rebindNewcomer } from "../../src/flow/people.ts";
import { lift, revoke } from "../../src/flow/revocation.ts";
import { openLedger } from "../../src/ledger/ledger.ts";
import { CHECKPOINT_KEY, boundEvent, temporaryFolder, verifyFile } from "../support/ledger.ts";
import { attack, type Attacker } from "../support/ledger-attacker.ts";
import { recordingLog } from "../support/log.ts";

const JANE = { directory: "okta", subject: "00u1", email: "jane@acme.example" };
const NEW_JANE = { directory: "entra", subject: "tid/oid", email: "jane@acme.example" };
const JOHN = { directory: "okta", subject: "00u2", email: "john@acme.example" };
const ORDER = { actor: "operator root", note: "because" };

/** A database administrator who changes what stands beside the log: names and revocations. */
describe("verifying names and revocations", () => {
  let file: string;
  let remove: () => void;

  // Rows: 1 Jane bound, 2 John bound, 3 Jane's name moved, 4 John revoked, 5 lifted, 6 a sign-in revoked, 7 by the provider.
  beforeEach(async () => {
    const temporary = temporaryFolder();
    remove = temporary.remove;
    file = join(temporary.folder, "ledger.db");
    const ledger = await openLedger({ file, checkpointKey: CHECKPOINT_KEY, log: recordingLog() });
    for (const person of [JANE, JOHN]) await ledger.bind(person, person.email, boundEvent(person, person.email));
    await rebindNewcomer(ledger, NEW_JANE, "same-person", ORDER);
    await revoke(ledger, { scope: "person", ...JOHN }, JOHN, ORDER);
    await lift(ledger, JOHN, JOHN, ORDER);
    await revoke(ledger, { scope: "session", signInId: "s1" }, JOHN, ORDER);
    await ledger.append({ type: "session.revoked", ...JANE, reason: "sign_in_revoked", actor: "okta" });
    await ledger.append({ type: "admin.action", actor: "operator root" });
    await ledger.close();
  });

  afterEach(() => {
    remove();
  });

  it("holds, also when every personal record has been erased", async () => {
    expect(await verifyFile(file)).toMatchObject({ rows: 9 });
    attack(file, (db) => {
      db.run("delete from personal");
    });
    expect(await verifyFile(file)).toMatchObject({ rows: 9, erased: 8 });
  });

  const insertName = (db: Attacker, seq: number, subject: string, generation: number): void => {
    db.run("insert into people values (?, 'okta', ?, 'jane@acme.example', ?, '00')", seq, subject, generation);
  };

  it.each<[string, (db: Attacker) => void, number | undefined, RegExp]>([
    ["a move taken back", (db) => void db.run("delete from people where seq = 3"), 3, /no longer recorded/],
    [
      "a move to somebody else",
      (db) => void db.run("update people set subject = 'm' where seq = 3"),
      3,
      /somebody else/,
    ],
    ["a former owner taken out", (db) => void db.run("delete from people where seq = 1"), 1, /no longer recorded/],
    [
      "a move made the first",
      (db) => void db.run("update people set generation = 0 where seq = 3"),
      3,
      /somebody else/,
    ],
    ["a name moved by nobody", (db) => void insertName(db, 8, "mallory", 3), undefined, /no row bound/],
    [
      "a revocation taken out",
      (db) => void db.run("delete from revocations where seq = 4"),
      4,
      /no longer recorded as/,
    ],
    ["a sign-in's revocation taken out", (db) => void db.run("delete from revocations where seq = 6"), 6, /no longer/],
    ["a revocation of another", (db) => void db.run("update revocations set target = 'x' where seq = 6"), 6, /else/],
    [
      "a revocation made its own end",
      (db) => void db.run("update revocations set effect = 'lifted' where seq = 4"),
      4,
      /something else/,
    ],
    [
      "a revocation that nobody made",
      (db) => void db.run("insert into revocations values (7, 'everyone', 'lifted', '00')"),
      undefined,
      /no row made/,
    ],
  ])("finds %s", async (_, change, seq, message) => {
    attack(file, change);
    await expect(verifyFile(file)).rejects.toMatchObject({ seq, message: expect.stringMatching(message) as string });
  });
});
