import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AuditEvent } from "../../src/flow/audit-event.ts";
import { openLedger, type Ledger } from "../../src/ledger/ledger.ts";
import { peopleList, peopleRebind } from "../../src/operator/people.ts";
import { withRecord } from "../../src/operator/record.ts";
import { revokeCommand, type RevokeOptions } from "../../src/operator/revoke.ts";
import { CHECKPOINT_KEY, boundEvent, entriesOf, temporaryFolder } from "../support/ledger.ts";
import { recordingLog } from "../support/log.ts";
import { recordingIo } from "../support/operator-io.ts";
import { webConfig } from "../support/web.ts";

const JANE = { directory: "okta", subject: "00u1", email: "jane@acme.example" };
/** A second account that goes by Jane's email, under a name of its own. */
const TWIN = { directory: "okta", subject: "00u2", email: "jane@acme.example" };
const GRANT = "0123456789abcdef0123456789abcdef";
const NOW = Date.parse("2026-11-22T12:00:00Z");
const config = webConfig("https://rolecall.acme.example");

/** The commands on an SQLite record that a broker has open as well. */
describe("the operators' commands about people", () => {
  let file: string;
  let remove: () => void;
  let running: Ledger;

  beforeEach(async () => {
    const temporary = temporaryFolder();
    remove = temporary.remove;
    file = join(temporary.folder, "ledger.db");
    running = await openLedger({ file, checkpointKey: CHECKPOINT_KEY, log: recordingLog() });
    await running.bind(JANE, "jane@acme.example", boundEvent(JANE, "jane@acme.example"));
    await running.bind(TWIN, "jane-2", { ...boundEvent(TWIN, "jane-2"), email: TWIN.email });
    const login: AuditEvent = { type: "login.succeeded", requestId: "sign-in-1", provider: "okta", ...JANE };
    await running.append(login);
    await running.append({ ...login, type: "credentials.requested", requestId: "r1", grantId: GRANT });
    const newcomer = { ...JANE, subject: "00u3" };
    await running.append({ ...login, ...newcomer, type: "login.denied", requestId: "d1", reason: "email_taken" });
  });

  afterEach(async () => {
    await running.close();
    remove();
  });

  async function run(work: (ledger: Ledger, io: ReturnType<typeof recordingIo>) => Promise<number>) {
    const io = recordingIo({ SUDO_USER: "alice" });
    const code = await withRecord({ file }, io, (ledger) => work(ledger, io));
    return { code, out: io.stdout(), err: io.stderr() };
  }

  const revoke = (options: RevokeOptions) => run((ledger, io) => revokeCommand(ledger, config, options, io, NOW));

  const refused: [string, RevokeOptions, number, RegExp][] = [
    ["nobody", { person: "nobody@acme.example", reason: "x" }, 1, /nobody has/],
    ["one of two", { person: "jane@acme.example", reason: "x" }, 1, /directory\/subject: okta\/00u1, okta\/00u2/],
    ["a sign-in that was none", { session: "r1", reason: "x" }, 1, /no sign-in has that ID/],
    ["a grant that nobody had", { grant: "f".repeat(32), reason: "x" }, 1, /no row names that grant/],
    ["a pattern of grants", { grant: "%", reason: "x" }, 1, /no row names that grant/],
    ["without a reason", { everyone: true }, 2, /--reason is missing/],
    ["with an empty reason", { everyone: true, reason: " " }, 2, /--reason is missing/],
    ["two things", { everyone: true, person: "okta/00u1", reason: "x" }, 2, /say one of/],
    ["nothing", { reason: "x" }, 2, /say one of/],
    ["a lift of everybody", { lift: true, everyone: true, reason: "x" }, 2, /only a person's/],
    ["a lift of nothing", { lift: true, person: "okta/00u1", reason: "x" }, 1, /nothing is revoked/],
  ];
  it.each(refused)("revoke refuses %s, and writes nothing", async (_, options, code, message) => {
    expect(await revoke(options)).toEqual({ code, out: "", err: expect.stringMatching(message) as string });
    expect((await entriesOf(file)).filter(({ actor }) => actor !== undefined)).toEqual([]);
  });

  const taken: [string, RevokeOptions, RegExp, object][] = [
    ["a person", { person: "okta/00u1" }, /--lift --person 'okta\/00u1'/, { ...JANE, scope: "person" }],
    ["a person by name", { person: "JANE-2" }, /jane-2 \(okta\/00u2\)/, { ...TWIN, scope: "person" }],
    ["a sign-in", { session: "sign-in-1" }, /the sign-in sign-in-1 of/, { ...JANE, signInId: "sign-in-1" }],
    ["a command line", { grant: GRANT }, /the command line 0123/, { ...JANE, grantId: GRANT }],
    ["everybody", { everyone: true }, /every sign-in until now/, { scope: "everyone" }],
  ];
  it.each(taken)(
    "revoke takes %s, says what ended and how long credentials still work",
    async (_, options, out, row) => {
      const done = await revoke({ ...options, reason: "SEC-9" });
      expect(done).toMatchObject({ code: 0, err: "", out: expect.stringMatching(out) as string });
      expect(done.out).toContain("work until 2026-11-22T13:00:00.000Z at the latest");
      const written = (await entriesOf(file)).find(({ type }) => type === "session.revoked");
      expect(written).toMatchObject({ ...row, actor: "operator alice", note: "SEC-9" });
      expect((await revoke({ list: true })).out).toMatch(/revoked {2}.*operator alice {2}SEC-9\n$/);
    },
  );

  it("a subject neither moves the terminal's cursor nor ends the quotes of the line to paste", async () => {
    const odd = { ...JANE, subject: "x';id;\u001b[2J" };
    await running.bind(odd, "jane-9", { ...boundEvent(odd, "jane-9"), email: JANE.email });
    const several = await revoke({ person: JANE.email, reason: "x" });
    expect(several.err).toContain(String.raw`okta/x';id;\u{1b}[2J`);
    const { out } = await revoke({ person: "jane-9", reason: "x" });
    expect(out).toContain(String.raw`--person 'okta/x'\'';id;\u{1b}[2J' --reason`);
    expect(several.err + out).not.toContain("\u001b");
  });

  it("people list shows names, and who waits, for people and for programs", async () => {
    const list = async (options: Parameters<typeof peopleList>[1]) =>
      (await run((ledger, io) => peopleList(ledger, options, io))).out;
    expect(await list({})).toMatch(/^jane@acme.example {2}okta\/00u1 .* current\njane-2 {2}okta\/00u2 .* current\n$/);
    expect(await list({ email: "JANE-2" })).toMatch(/^jane-2 [^\n]*\n$/);
    expect(await list({ waiting: true })).toMatch(/okta\/00u3 {2}--request d1\n$/);
    await revoke({ person: "okta/00u2", reason: "x" });
    expect(JSON.parse(await list({ email: "jane-2", json: true }))).toMatchObject({ people: [{ revoked: true }] });
  });

  it.each([
    ["both answers", { request: "d1", samePerson: true, anotherPerson: true }, /either/],
    ["no answer", { request: "d1" }, /either/],
    ["a request that was not refused", { request: "r1", samePerson: true }, /nobody waits/],
    ["half an account", { directory: "okta", samePerson: true }, /--subject and --email/],
    ["a directory that nobody has", { ...JANE, directory: "oktaa", samePerson: true }, /no provider has/],
  ] as const)("people rebind refuses %s", async (_, options, message) => {
    const done = await run((ledger, io) => peopleRebind(ledger, config, { ...options, reason: "x" }, io));
    expect(done).toEqual({ code: 2, out: "", err: expect.stringMatching(message) as string });
  });

  it("makes no record where there is none", async () => {
    const io = recordingIo({});
    const place = { file: join(file, "..", "nothing.db") };
    expect(await withRecord(place, io, () => Promise.resolve(0))).toBe(2);
    expect(io.stderr()).toMatch(/there is no record at/);
  });
});
