import { describe, expect, it } from "vitest";
import { planImport, type ImportRow } from "../../src/flow/people-import.ts";
import type { NameRecord } from "../../src/flow/people.ts";

const record = (over: Partial<NameRecord>): NameRecord => ({
  directory: "okta",
  subject: "00u1",
  sessionName: "jane@acme.example",
  generation: 1,
  email: "jane@acme.example",
  since: "2026-11-22T21:00:00.000Z",
  seq: 1,
  state: "current",
  revoked: false,
  ...over,
});

const row = (over: Partial<ImportRow> = {}): ImportRow => ({
  line: 2,
  directory: "entra",
  subject: "tid/oid-1",
  email: "Jane@acme.example",
  previous: undefined,
  ...over,
});

const OKTA_JANE = { directory: "okta", subject: "00u1" };
const plan = (rows: ImportRow[], people: NameRecord[], samePerson = false) =>
  planImport(rows, people, { directories: ["okta", "entra"], samePerson });

describe("the plan of an import", () => {
  const moved = [record({ state: "moved" }), record({ directory: "entra", subject: "tid/oid-1", generation: 2 })];
  const cases: [string, ImportRow, NameRecord[], boolean, object][] = [
    ["a name that is new", row(), [], false, { action: "bind", sessionName: "jane@acme.example" }],
    [
      "a name of the previous account, whatever the email is now",
      row({ email: "jane.smith@acme.example", previous: OKTA_JANE }),
      [record({})],
      false,
      { action: "move", sessionName: "jane@acme.example", from: record({}) },
    ],
    ["a previous account that never signed in", row({ previous: OKTA_JANE }), [], false, { action: "bind" }],
    ["a taken email, said to be the same human", row(), [record({})], true, { action: "move", from: record({}) }],
    ["what has been done already", row({ previous: OKTA_JANE }), moved, false, { action: "keep" }],
  ];
  it.each(cases)("takes %s", (_, each, people, samePerson, step) => {
    const { steps, faults } = plan([each], people, samePerson);
    expect(faults).toEqual([]);
    expect(steps).toMatchObject([step]);
  });

  const faulty: [string, ImportRow[], NameRecord[], RegExp][] = [
    ["a subject with what does not show", [row({ subject: "tid/oid\u200b-1" })], [], /no sign-in could bring/],
    ["a subject with a blank in it", [row({ subject: "tid/oid 1" })], [], /no sign-in could bring/],
    ["a subject that no provider may send", [row({ subject: "x".repeat(256) })], [], /no sign-in could bring/],
    [
      "a previous directory that is nobody's, though the email is free",
      [row({ email: "j@acme.example", previous: { ...OKTA_JANE, directory: "\u043ekta" } })],
      [record({})],
      /previousDirectory that no provider and no account has/,
    ],
    ["a taken email", [row()], [record({})], /is okta\/00u1's/],
    ["a directory that nobody has", [row({ directory: "entrra" })], [], /no provider has/],
    ["no email", [row({ email: "jane" })], [], /no email/],
    ["no subject", [row({ subject: "" })], [], /lacks/],
    ["half a previous account", [row({ previous: { directory: "okta", subject: "" } })], [], /lacks/],
    ["itself as the previous account", [row({ ...OKTA_JANE, previous: OKTA_JANE })], [], /its own previous/],
    ["an account whose name has moved", [row(OKTA_JANE)], moved, /has moved to another/],
    ["a previous account that was followed already", [row({ subject: "x", previous: OKTA_JANE })], moved, /already/],
    ["a previous account that is kept out", [row({ previous: OKTA_JANE })], [record({ revoked: true })], /lift that/],
    ["an account twice", [row(), row({ line: 3, email: "j@acme.example" })], [], /same account as line 2/],
    ["a name twice", [row(), row({ line: 3, subject: "y", email: "JANE@acme.example" })], [], /same name as line 2/],
    [
      "a previous account twice",
      [row({ previous: OKTA_JANE }), row({ line: 3, subject: "y", email: "j@acme.example", previous: OKTA_JANE })],
      [record({})],
      /same previous as line 2/,
    ],
  ];
  it.each(faulty)("refuses %s", (_, rows, people, message) => {
    const { faults } = plan(rows, people);
    expect(faults).toMatchObject([{ line: rows.at(-1)?.line, message: expect.stringMatching(message) as string }]);
  });

  it("takes no other account's name where a line names its previous account, also with --same-person", () => {
    const { steps, faults } = plan([row({ previous: { ...OKTA_JANE, subject: "00u7" } })], [record({})], true);
    expect(steps).toEqual([]);
    expect(faults).toMatchObject([{ line: 2, message: expect.stringMatching(/is okta\/00u1's/) as string }]);
  });

  it("follows an account of a directory that is no longer configured", () => {
    const people = [record({ directory: "onelogin" })];
    const { steps } = plan([row({ previous: { directory: "onelogin", subject: "00u1" } })], people);
    expect(steps).toMatchObject([{ action: "move", from: { directory: "onelogin" } }]);
  });

  it("names every fault at once", () => {
    const { faults } = plan([row({ email: "" }), row({ line: 3, subject: "" }), row({ line: 4, directory: "x" })], []);
    expect(faults.map(({ line }) => line)).toEqual([2, 3, 4]);
  });
});
