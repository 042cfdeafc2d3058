import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { STS_ERRORS } from "../../src/aws/sts-errors.ts";
import { Browser } from "../../src/sandbox/browser.ts";
import type { Machine } from "../support/command-line.ts";
import { personOf, standIn, startCompany, type Company } from "../support/company.ts";

let company: Company;
let jane: Machine;
let token: string;

beforeAll(async () => {
  company = await startCompany();
  jane = await company.employee("okta", "Jane");
  ({ accessToken: token } = JSON.parse(await readFile(jane.file("tokens.json"), "utf8")) as { accessToken: string });
});
afterAll(() => company.close());

const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/;

function ask(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${company.config.baseUrl}${path}`, { redirect: "manual", ...init });
}

function askForCredentials(headers: Record<string, string> = {}): Promise<Response> {
  return ask("/api/v1/credentials", { method: "POST", headers: { authorization: `Bearer ${token}`, ...headers } });
}

function idOf(answer: Response): string {
  const id = answer.headers.get("x-request-id") ?? "";
  expect(id).toMatch(UUID);
  return id;
}

const typesOf = async (requestId: string): Promise<string[]> =>
  (await company.rows()).filter((row) => row.requestId === requestId).map(({ type }) => type);

const linesOf = (requestId: string) => company.logged.filter(({ fields }) => fields["requestId"] === requestId);

const answerTo = (requestId: string) =>
  expect.poll(() => company.answers.find(({ fields }) => fields["requestId"] === requestId)?.fields);

describe("one ID", () => {
  it("stands in the answer, the ledger and the log of an issue", async () => {
    const answer = await askForCredentials();
    const id = idOf(answer);
    expect(await typesOf(id)).toEqual(["credentials.requested", "credentials.issued"]);
    await answerTo(id).toEqual({
      requestId: id,
      method: "POST",
      route: "/api/v1/credentials",
      status: 200,
      ms: expect.any(Number) as number,
    });
  });

  it("stands in the problem and in every line of a refused one, those of the STS client too", async () => {
    const row = STS_ERRORS.find(({ retry }) => !retry);
    if (!row) throw new Error("every error is retried");
    company.aws.fail({ kind: "error", ...row });
    const answer = await askForCredentials();
    const id = idOf(answer);
    expect(await answer.json()).toMatchObject({ requestId: id, code: row.reason });
    expect(await typesOf(id)).toEqual(["credentials.requested", "credentials.failed"]);
    expect(linesOf(id).map(({ message }) => message)).toEqual([
      expect.stringContaining(row.wireCode) as string,
      expect.stringContaining(row.wireCode) as string,
    ]);
    await answerTo(id).toMatchObject({ status: answer.status, code: row.reason });
  });

  it("stands on the page of a refused sign-in", async () => {
    const browser = new Browser();
    const page = await browser.open(`${company.config.baseUrl}/login/okta`);
    const refused = await browser.submit(page, {
      name: "person",
      value: personOf(standIn(company, "okta"), "Luis").subject,
    });
    const denied = (await company.rows()).findLast(({ type }) => type === "login.denied");
    expect(refused.text).toContain(denied?.requestId);
    expect(linesOf(denied?.requestId ?? "")).toMatchObject([{ fields: { code: "email_unverified" } }]);
  });

  it.each([
    "/",
    "/nothing/here",
    "/healthz",
    "/readyz",
    "/assets/style.css",
    "/federation/jwks",
    "/oauth/jwks",
    "/oauth/x",
  ])("stands in the answer of %s", async (path) => {
    idOf(await ask(path));
  });

  it("stands in the answer of the authorization server, and in its line", async () => {
    const id = idOf(await ask("/oauth/token", { method: "POST", body: new URLSearchParams({ grant_type: "x" }) }));
    expect(linesOf(id)).toMatchObject([{ message: "an oauth request was refused", fields: { route: "token" } }]);
  });
});

describe("an ID that the sender chose", () => {
  it("is not taken, so that nobody's outcome can be taken from them by it", async () => {
    const chosen = "11111111-2222-4333-8444-555555555555";
    const answers = [
      await askForCredentials({ "x-request-id": chosen }),
      await askForCredentials({ "x-request-id": chosen }),
    ];
    const ids = answers.map(idOf);
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(new Set([...ids, chosen]).size).toBe(3);
    expect(JSON.stringify([await company.rows(), company.logged, company.answers])).not.toContain(chosen);
  });
});

describe("the line of an answer", () => {
  it("has the route, not what was asked for", async () => {
    const id = idOf(await ask("/login/okta/callback?code=hunter2&state=hunter2"));
    await answerTo(id).toMatchObject({ route: "/login/:provider/callback", code: "login_state_unknown" });
    const odd = idOf(await ask("/hunter2"));
    await answerTo(odd).toMatchObject({ route: "none", status: 404, code: "not_found" });
    expect(JSON.stringify([company.logged, company.answers])).not.toContain("hunter2");
  });

  it("is not written for probes", async () => {
    const probes = [await ask("/healthz"), await ask("/readyz"), await ask("/metrics")];
    const id = idOf(await ask("/assets/style.css"));
    await answerTo(id).toBeDefined();
    const told = company.answers.map(({ fields }) => fields["requestId"]);
    for (const probe of probes) expect(told).not.toContain(idOf(probe));
  });
});
