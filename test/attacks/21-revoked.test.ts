import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { REASONS } from "../../src/flow/errors.ts";
import { personOf, standIn } from "../support/company.ts";
import { letCommandLineIn, signIn, signInByBrowser, type EmployeeSession } from "../support/employee-session.ts";
import { startSharedCompany, type SharedCompany } from "../support/shared-company.ts";

/**
 * Threat 21, the half that is an admin's: revoked means at once, on two brokers with one Redis and one PostgreSQL, by
 * the operators' program beside them. That a provider's word counts after claimsMaxAge is test/e2e/freshness.test.ts.
 */

let shared: SharedCompany;
beforeAll(async () => {
  shared = await startSharedCompany();
});
afterAll(() => shared.close());
afterEach(() => {
  shared.beforeSts = () => undefined;
});

const subjectOf = (name: string): string => personOf(standIn(shared.company, "okta"), name).subject;
const employee = (name: string): Promise<EmployeeSession> => signIn(shared.brokers[0], "okta", subjectOf(name));

async function revoke(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await shared.operator("revoke", ...args, "--reason", "laptop stolen");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

/** What the two brokers say to whoever asks for credentials. */
const codes = async (of: EmployeeSession): Promise<unknown[]> =>
  await Promise.all(shared.brokers.map(async (each) => (await of.credentials(each)).body["code"] ?? "issued"));

const ISSUED = ["issued", "issued"];
const ENDED = ["session_revoked", "session_revoked"];

async function lastIssued(): Promise<{ signInId: string; grantId: string }> {
  const { signInId = "", grantId = "" } =
    (await shared.rows()).findLast((row) => row.type === "credentials.issued") ?? {};
  return { signInId, grantId };
}

async function pageOf({ browser }: EmployeeSession): Promise<string> {
  return (await browser.open(shared.brokers[0])).text.replaceAll("&#39;", "'");
}

test("a person: no credentials, no tokens, no page, no sign-in, until it is lifted; everybody else goes on", async () => {
  const [jane, omar] = [await employee("Jane"), await employee("Omar")];
  expect([await codes(jane), await codes(omar)]).toEqual([ISSUED, ISSUED]);
  const said = await revoke("--person", "jane@acme.example");
  expect(said).toMatch(/No credentials, no sign-in, on every broker/);
  expect(said).toMatch(/work until \d{4}-/);

  expect(await codes(jane)).toEqual(["person_revoked", "person_revoked"]);
  expect((await jane.whoami(shared.brokers[1])).body).toMatchObject({ code: "person_revoked" });
  expect(await jane.refresh(shared.brokers[1])).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
  expect(await pageOf(jane)).toContain(REASONS.person_revoked.sentence);
  await expect(letCommandLineIn(shared.brokers[0], jane.browser)).rejects.toThrow();
  const refused = await signInByBrowser(shared.brokers[0], "okta", subjectOf("Jane"));
  expect(refused).toMatchObject({ status: 403 });
  expect(refused.text).toContain(REASONS.person_revoked.sentence);
  expect(await codes(omar)).toEqual(ISSUED);

  const rows = (await shared.rows()).filter(({ reason }) => reason === "person_revoked");
  const [revoked, ...after] = rows.map(({ type }) => type);
  expect(revoked).toBe("session.revoked");
  expect(after.filter((type) => type === "credentials.denied").length).toBeGreaterThanOrEqual(3);
  expect(after).toContain("login.denied");
  expect(rows[0]).toMatchObject({ email: "jane@acme.example", note: "laptop stolen" });
  expect(rows[0]?.actor).toMatch(/^operator ./);

  await revoke("--lift", "--person", "jane@acme.example");
  expect(await codes(jane)).toEqual(ENDED);
  expect(await codes(await employee("Jane"))).toEqual(ISSUED);
});

test("one sign-in: its browser and its command lines end, another one of the same person goes on", async () => {
  const [lost, kept] = [await employee("Jane"), await employee("Jane")];
  const second = await letCommandLineIn(shared.brokers[0], lost.browser);
  expect(await codes(kept)).toEqual(ISSUED);
  expect(await codes(lost)).toEqual(ISSUED);
  await revoke("--session", (await lastIssued()).signInId);
  expect([await codes(lost), await codes(second)]).toEqual([ENDED, ENDED]);
  expect(await lost.refresh(shared.brokers[0])).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
  expect(await pageOf(lost)).toContain(REASONS.session_revoked.sentence);
  expect(await pageOf(kept)).toContain("jane@acme.example");
  expect(await codes(kept)).toEqual(ISSUED);
});

test("one command line: it ends, and its browser and the other command line go on", async () => {
  const first = await employee("Jane");
  const second = await letCommandLineIn(shared.brokers[0], first.browser);
  expect(await codes(first)).toEqual(ISSUED);
  expect(await codes(second)).toEqual(ISSUED);
  await revoke("--grant", (await lastIssued()).grantId);
  expect([await codes(second), await codes(first)]).toEqual([ENDED, ISSUED]);
  expect((await second.whoami(shared.brokers[0])).body).toMatchObject({ code: "session_revoked" });
  expect(await second.refresh(shared.brokers[1])).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
  expect(await first.refresh(shared.brokers[1])).toMatchObject({ status: 200 });
});

test("everybody: every sign-in ends, and everybody can sign in again", async () => {
  const before = [await employee("Jane"), await employee("Omar")];
  expect(await Promise.all(before.map(codes))).toEqual([ISSUED, ISSUED]);
  await revoke("--everyone");
  expect(await Promise.all(before.map(codes))).toEqual([ENDED, ENDED]);
  expect(await codes(await employee("Omar"))).toEqual(ISSUED);
});

test("while STS is asked: what it gives is not handed out, and the record says why", async () => {
  const jane = await employee("Jane");
  expect(await codes(jane)).toEqual(ISSUED);
  const { grantId } = await lastIssued();
  shared.beforeSts = async () => {
    await revoke("--grant", grantId);
  };
  expect((await jane.credentials(shared.brokers[1])).body).toMatchObject({ code: "session_revoked" });
  expect((await shared.rows()).findLast(({ type }) => type === "credentials.failed")).toMatchObject({
    grantId,
    reason: "session_revoked",
  });
});

test("while STS is asked: a command line that signs out gets nothing any more", async () => {
  const jane = await employee("Jane");
  shared.beforeSts = async () => {
    const body = new URLSearchParams({ client_id: "rolecall-cli", token: jane.accessToken });
    expect((await fetch(`${shared.brokers[0]}/oauth/token/revocation`, { method: "POST", body })).status).toBe(200);
  };
  expect((await jane.credentials(shared.brokers[1])).body).toMatchObject({ code: "token_invalid" });
  expect((await shared.rows()).findLast(({ type }) => type === "credentials.failed")).toMatchObject({
    reason: "token_invalid",
  });
});

test("whoever writes Redis, and puts all of it back as it was, brings nothing back (threat 28)", async () => {
  const jane = await employee("Jane");
  expect(await codes(jane)).toEqual(ISSUED);
  const copy = await shared.redis.dump();
  await revoke("--session", (await lastIssued()).signInId);
  expect(await codes(jane)).toEqual(ENDED);
  const writer = new Redis(shared.redis.url);
  for (const [key, value] of copy) await writer.set(key, value, "EX", 600);
  writer.disconnect();
  expect(await codes(jane)).toEqual(ENDED);
  expect(await pageOf(jane)).toContain(REASONS.session_revoked.sentence);
});

test("the record holds after all of it", async () => {
  expect(await shared.operator("audit", "verify")).toMatchObject({ code: 0 });
});
