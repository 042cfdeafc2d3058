import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { REASONS, type ReasonCode } from "../../src/flow/errors.ts";
import { ENTRA_TENANT } from "../../src/sandbox/people.ts";
import { personOf, standIn } from "../support/company.ts";
import { signIn, signInByBrowser, type EmployeeSession } from "../support/employee-session.ts";
import type { Claims } from "../support/hostile-idp.ts";
import { startSharedCompany, type SharedCompany } from "../support/shared-company.ts";
import { expectCredentials, expectDenied, expectSignedIn } from "./support/refusals.ts";
import { samlIdps, signInBySaml, type SamlIdps } from "./support/saml.ts";
import { claimsOf, JANE, PRIYA } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/**
 * Threat 27: a person re-hired under an old email, an email that moved to a colleague, a move from one directory to
 * another. Never two humans under one session name, never a name freed; on two brokers with one record.
 */

let shared: SharedCompany;
beforeAll(async () => {
  shared = await startSharedCompany();
});
afterAll(() => shared.close());
beforeEach(() => {
  // Whoever was renamed by a test before has their own email again.
  for (const { staff, people } of shared.company.providers) {
    for (const { subject, claims } of people) staff.change(subject, claims);
  }
});

const subjectOf = (name: string): string => personOf(standIn(shared.company, "okta"), name).subject;
const employee = (name: string): Promise<EmployeeSession> => signIn(shared.brokers[0], "okta", subjectOf(name));

/** The directory now says this email of that account. */
function rename(name: string, email: string): void {
  standIn(shared.company, "okta").staff.change(subjectOf(name), { email, preferred_username: email });
}

interface Said {
  readonly sessionName?: string;
  readonly code?: string;
}

/** What each broker says that somebody is billed as. */
const names = (of: EmployeeSession): Promise<Said[]> =>
  Promise.all(shared.brokers.map(async (each) => (await of.whoami(each)).body as Said));

const codes = (of: EmployeeSession): Promise<unknown[]> =>
  Promise.all(shared.brokers.map(async (each) => (await of.credentials(each)).body["code"] ?? "issued"));

async function refusedRequest(name: string): Promise<string> {
  const page = await signInByBrowser(shared.brokers[0], "okta", subjectOf(name));
  expect(page.status).toBe(403);
  expect(page.text).toContain(REASONS.email_taken.sentence);
  const { stdout } = await shared.operator("people", "list", "--waiting", "--json");
  const { waiting } = JSON.parse(stdout) as { waiting: { subject: string; requestId: string }[] };
  return waiting.find(({ subject }) => subject === subjectOf(name))?.requestId ?? "nobody waits";
}

async function operator(...args: string[]): Promise<string> {
  const run = await shared.operator(...args);
  expect(run).toMatchObject({ code: 0, stderr: "" });
  return run.stdout;
}

test("an email that moved to a colleague: refused, then a name of their own, and the first one keeps theirs", async () => {
  const jane = await employee("Jane");
  expect(await codes(jane)).toEqual(["issued", "issued"]);
  rename("Omar", "JANE@acme.example");
  const request = await refusedRequest("Omar");
  expect(await operator("people", "rebind", "--request", request, "--another-person", "--reason", "HR-1")).toMatch(
    /^jane-[a-z2-7]{26} is okta\//,
  );
  const omar = await employee("Omar");
  expect(await names(omar)).toMatchObject(Array(2).fill({ sessionName: expect.stringMatching(/^jane-/) as string }));
  expect(await names(jane)).toMatchObject(Array(2).fill({ sessionName: "jane@acme.example" }));
  expect([await codes(jane), await codes(omar)]).toEqual(Array(2).fill(["issued", "issued"]));
});

test("somebody re-hired under the old email: refused, then the name is theirs, and the old account is closed", async () => {
  const before = await employee("Jane");
  expect(await codes(before)).toEqual(["issued", "issued"]);
  rename("Nora", "jane@acme.example");
  standIn(shared.company, "okta").staff.change(subjectOf("Nora"), {
    groups: ["bedrock-search"],
    costCenter: "cc-1042",
  });
  const request = await refusedRequest("Nora");
  expect(await operator("people", "rebind", "--request", request, "--same-person", "--reason", "HR-2")).toMatch(
    /jane@acme.example is okta\/\S+'s from now on[^]*is closed/,
  );
  expect(await codes(before)).toEqual(["name_moved", "name_moved"]);
  expect(await before.refresh(shared.brokers[1])).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
  expect((await before.browser.open(shared.brokers[0])).text).toContain(REASONS.name_moved.sentence);
  const old = await signInByBrowser(shared.brokers[0], "okta", subjectOf("Jane"));
  expect(old).toMatchObject({ status: 403, text: expect.stringContaining(REASONS.name_moved.sentence) as string });

  const after = await employee("Nora");
  expect(await names(after)).toMatchObject(Array(2).fill({ sessionName: "jane@acme.example" }));
  expect(await codes(after)).toEqual(["issued", "issued"]);
  // Decided, so it can't be decided again.
  const again = await shared.operator("people", "rebind", "--request", request, "--same-person", "--reason", "x");
  expect(again).toMatchObject({ code: 2, stderr: expect.stringMatching(/nobody waits/) as string });
});

test("a company that moves to another directory: everybody keeps the name, in one file, before they sign in", async () => {
  const entra = standIn(shared.company, "entra");
  const [priya, tomas] = ["Priya", "Tomas"].map((name) => personOf(entra, name));
  const account = (oid: unknown): string => `${ENTRA_TENANT}/${String(oid)}`;
  rename("Luis", "luis@acme.example");
  standIn(shared.company, "okta").staff.change(subjectOf("Luis"), { email_verified: true });
  const luis = await employee("Luis");
  const file = join(shared.company.folder, "move.csv");
  const lines = [
    "directory,subject,email,previousDirectory,previousSubject",
    `entra,${account(priya?.claims["oid"])},priya@emea.acme.example,okta,${subjectOf("Luis")}`,
    `entra,${account(tomas?.claims["oid"])},tomas@emea.acme.example,,`,
  ];
  await writeFile(file, [...lines, "entra,half,,okta,"].join("\n"));
  const faulty = await shared.operator("people", "import", file, "--apply", "--reason", "CHG-1");
  expect(faulty).toMatchObject({ code: 1, stderr: expect.stringMatching(/line 4 /) as string });
  await writeFile(file, lines.join("\n"));
  expect(await operator("people", "import", file)).toMatch(/line 2: move luis@[^]*line 3: bind tomas@[^]*--apply/);
  expect(await codes(luis)).toEqual(["issued", "issued"]);
  expect(await operator("people", "import", file, "--apply", "--reason", "CHG-1")).toBe(
    "written: 1 new, 1 moved, 0 as they were\n",
  );
  expect(await operator("people", "import", file, "--apply", "--reason", "CHG-1")).toMatch(/0 new, 0 moved, 2 as/);

  expect(await codes(luis)).toEqual(["name_moved", "name_moved"]);
  const moved = await signIn(shared.brokers[0], "entra", priya?.subject ?? "");
  expect(await names(moved)).toMatchObject(Array(2).fill({ sessionName: "luis@acme.example" }));
  const bound = await signIn(shared.brokers[0], "entra", tomas?.subject ?? "");
  expect(await names(bound)).toMatchObject(Array(2).fill({ sessionName: "tomas@emea.acme.example" }));
});

test("no name ever had two accounts at one time, and the record holds", async () => {
  const { people } = JSON.parse(await operator("people", "list", "--json")) as {
    people: { sessionName: string; state: string }[];
  };
  const current = people.filter(({ state }) => state === "current").map(({ sessionName }) => sessionName);
  expect(new Set(current).size).toBe(current.length);
  expect(current).toContain("jane@acme.example");
  // Rows of one name lie before its move for one account, and after it for the other.
  const rows = await shared.rows();
  const issuedTo = (name: string): string[] =>
    rows.filter((row) => row.type === "credentials.issued" && row.sessionName === name).map((row) => row.subject ?? "");
  const move = rows.find(({ type, sessionName }) => type === "identity.rebound" && sessionName === "jane@acme.example");
  const before = issuedTo("jane@acme.example").filter((subject) => subject === move?.former?.subject);
  expect(issuedTo("jane@acme.example").slice(0, before.length)).toEqual(before);
  expect(await shared.operator("audit", "verify")).toMatchObject({ code: 0 });
});

describe("by SAML", () => {
  let target: Target;
  let saml: SamlIdps;
  beforeAll(async () => {
    saml = await samlIdps();
    target = await startTarget(saml.options);
  });
  afterAll(() => target.close());

  const refused = async (id: "okta" | "entra", claims: Claims, code: ReasonCode): Promise<void> => {
    const { answer, rows } = await target.recorded(() => signInBySaml(target, saml, id, claims));
    expect(answer.answer.status).toBe(REASONS[code].status);
    expect(rows).toMatchObject([{ type: "login.denied", reason: code, provider: `${id}-saml` }]);
    expect(answer.jar.cookies.has("rolecall")).toBe(false);
  };

  test("the same account is the same person, whatever NameID and session it comes with", async () => {
    await expectSignedIn(target, "okta", JANE);
    const bound = (await target.rows()).find(({ type }) => type === "identity.bound");
    const { rows } = await target.recorded(async () => {
      for (const over of [{}, { nameId: "another", sessionIndex: "another" }]) {
        expect((await signInBySaml(target, saml, "okta", JANE, { over })).answer.status).toBe(303);
      }
    });
    const same = { type: "login.succeeded", subject: bound?.subject, sessionName: "jane@acme.example" };
    expect(rows).toMatchObject([same, same]);
  });

  test.for<[string, Claims]>([
    ["under an old email, by another account", { sub: "00u-new" }],
    ["in capitals", { sub: "00u-new", email: "JANE@ACME.example" }],
    ["with the other's ID as NameID alone", { sub: "00u-new", nameID: undefined, preferred_username: JANE["sub"] }],
  ])("re-hired %s: refused in one row, and the name stays whose it is", async ([, change]) => {
    await refused("okta", { ...JANE, ...change }, "email_taken");
    expect((await signInBySaml(target, saml, "okta", JANE)).answer.status).toBe(303);
  });

  test("moved to another directory, which may not speak for that email: refused", async () => {
    await refused("entra", { ...PRIYA, email: "jane@acme.example" }, "email_domain");
    expect((await signInBySaml(target, saml, "entra", PRIYA)).answer.status).toBe(303);
  });

  test("whoever was first by SAML has the name by OpenID Connect, too, and another account has not", async () => {
    const omar = claimsOf("okta", "Omar");
    expect((await signInBySaml(target, saml, "okta", omar)).answer.status).toBe(303);
    await expectDenied(target, "okta", { ...omar, sub: "00u-another" }, "email_taken");
    await expectCredentials(target, "okta", omar, {
      sessionName: "omar@acme.example",
      tags: { team: "ml-platform", "cost-centre": "cc-1077" },
    });
  });
});
