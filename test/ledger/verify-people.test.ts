import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { rebindNewcomer } from "../../src/flow/people.ts";
import { lift, revoke } from "../../src/flow/revocation.ts";
import { openLedger } from "../../src/ledger/ledger.ts";
import { ownerDigest } from "../../src/ledger/row.ts";
import { CHECKPOINT_KEY, boundEvent, temporaryFolder, verifyFile } from "../support/ledger.ts";
import { attack } from "../support/ledger-attacker.ts";
import { recordingLog } from "../support/log.ts";

const JANE = { directory: "okta", subject: "00u1", email: "jane@acme.example" };
const NEW_JANE = { directory: "entra", subject: "tid/oid", email: "jane@acme.example" };
const JOHN = { directory: "okta", subject: "00u2", email: "john@acme.example" };
const MALLORYS = ownerDigest({
  ...{ directory: "okta", subject: "mallory", sessionName: "boss@acme.example" },
  ...{ generation: 1, salt: "00" },
});
const ORDER = { actor: "operator root", note: "because" };

/** A database administrator who changes what stands beside the log: names and revocations. */
describe("verifying names and revocations", () => {
  let file: string;
  let original: string;
  let remove: () => void;

  // Rows: 1 Jane bound, 2 John bound, 3 Jane's name moved, 4 John revoked, 5 lifted, 6 a sign-in revoked, 7 by the provider.
  beforeAll(async () => {
    const temporary = temporaryFolder();
    remove = temporary.remove;
    original = join(temporary.folder, "original.db");
    file = join(temporary.folder, "ledger.db");
    const ledger = await openLedger({ file: original, checkpointKey: CHECKPOINT_KEY, log: recordingLog() });
    for (const person of [JANE, JOHN]) await ledger.bind(person, person.email, boundEvent(person, person.email));
    await rebindNewcomer(ledger, NEW_JANE, "same-person", ORDER);
    await revoke(ledger, { scope: "person", ...JOHN }, JOHN, ORDER);
    await lift(ledger, JOHN, JOHN, ORDER);
    await revoke(ledger, { scope: "session", signInId: "s1" }, JOHN, ORDER);
    await ledger.append({ type: "session.revoked", ...JANE, reason: "sign_in_revoked", actor: "okta" });
    await ledger.append({ type: "admin.action", actor: "operator root" });
    await ledger.close();
  });

  beforeEach(() => {
    copyFileSync(original, file);
  });

  afterAll(() => {
    remove();
  });

  it("holds, also when every personal record has been erased", async () => {
    expect(await verifyFile(file)).toMatchObject({ rows: 9 });
    attack(file, (db) => {
      db.run("delete from personal");
    });
    expect(await verifyFile(file)).toMatchObject({ rows: 9, erased: 8 });
  });

  it.each<[string, string, number | undefined, RegExp]>([
    ["a move taken back", "delete from people where seq = 3", 3, /no longer recorded/],
    ["a move to somebody else", "update people set subject = 'mallory' where seq = 3", 3, /somebody else/],
    ["a former owner taken out", "delete from people where seq = 1", 1, /no longer recorded/],
    ["a move made the first", "update people set generation = 0 where seq = 3", 3, /somebody else/],
    [
      "a name moved by nobody",
      "insert into people values (8, 'okta', 'mallory', 'jane@acme.example', 3, '00')",
      undefined,
      /no row bound/,
    ],
    ["a revocation taken out", "delete from revocations where seq = 4", 4, /no longer recorded as revoked/],
    ["a sign-in's revocation taken out", "delete from revocations where seq = 6", 6, /no longer recorded as revoked/],
    ["a revocation of another", "update revocations set target = 'session s2' where seq = 6", 6, /something else/],
    ["a revocation made its end", "update revocations set effect = 'lifted' where seq = 4", 4, /something else/],
    [
      "a revocation that nobody made",
      "insert into revocations values (7, 'everyone', 'revoked', '00')",
      undefined,
      /no row made/,
    ],
    // What would stand by itself: whatever it says, the log does not begin there.
    [
      "a name bound by a row before the first",
      `insert into rows values (0, 'identity.bound', null, '', '{"owner":"${MALLORYS}"}', '');
       insert into people values (0, 'okta', 'mallory', 'boss@acme.example', 1, '00')`,
      0,
      /stands before the first row/,
    ],
    [
      "a key's change that was told before the first row",
      `insert into rows values (-7, 'key.changed', 'cookies:k:revoked', '', '{}', '')`,
      -7,
      /stands before the first row/,
    ],
  ])("finds %s", async (_, sql, seq, message) => {
    attack(file, (db) => {
      for (const statement of sql.split(";")) db.run(statement);
    });
    await expect(verifyFile(file)).rejects.toMatchObject({ seq, message: expect.stringMatching(message) as string });
  });
});
