import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { LedgerEntry } from "../../src/ledger/row.ts";
import { Browser } from "../../src/sandbox/browser.ts";
import { personOf, standIn, startCompany, type Company } from "../support/company.ts";

/** Somebody holds a code or a token of another person: what they try is refused, and stands in the record. */

let company: Company;
/** Where the command line would listen. */
let loopback: Server;
let redirectUri: string;
let rowsBefore: number;

beforeAll(async () => {
  company = await startCompany();
  loopback = createServer((_req, res) => res.end()).listen(0, "127.0.0.1");
  await once(loopback, "listening");
  redirectUri = `http://127.0.0.1:${(loopback.address() as AddressInfo).port}/callback`;
});
afterAll(async () => {
  loopback.close();
  await company.close();
});

/** Jane lets the command line in; the code that it gets, and the verifier that it keeps. */
async function janesCode(): Promise<{ code: string; verifier: string }> {
  const verifier = randomBytes(32).toString("base64url");
  const query = new URLSearchParams({
    client_id: "rolecall-cli",
    response_type: "code",
    redirect_uri: redirectUri,
    scope: "openid offline_access credentials",
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
  });
  const { baseUrl } = company.config;
  const browser = new Browser();
  const choice = await browser.open(`${baseUrl}/oauth/auth?${query.toString()}`);
  const link = /href="(\/login\/okta[^"]*)"/.exec(choice.text)?.[1] ?? "none";
  const idpPage = await browser.open(new URL(link, baseUrl).href);
  const jane = personOf(standIn(company, "okta"), "Jane");
  const approval = await browser.submit(idpPage, { name: "person", value: jane.subject });
  const back = await browser.submit(approval, { name: "decision", value: "approve" });
  return { code: back.url.searchParams.get("code") ?? "none", verifier };
}

interface TokenAnswer {
  readonly status: number;
  readonly requestId: string | null;
  readonly body: Readonly<Record<string, string>>;
}

async function token(fields: Record<string, string>): Promise<TokenAnswer> {
  const answer = await fetch(`${company.config.baseUrl}/oauth/token`, {
    method: "POST",
    body: new URLSearchParams({ client_id: "rolecall-cli", ...fields }),
    headers: { "user-agent": "thief/1" },
  });
  const body = (await answer.json()) as Record<string, string>;
  return { status: answer.status, requestId: answer.headers.get("x-request-id"), body };
}

async function newRows(): Promise<LedgerEntry[]> {
  return (await company.rows()).slice(rowsBefore);
}

const redeem = (code: string, verifier: string): Promise<TokenAnswer> =>
  token({ grant_type: "authorization_code", code, code_verifier: verifier, redirect_uri: redirectUri });
const refresh = (refreshToken = "", scope?: string): Promise<TokenAnswer> =>
  token({ grant_type: "refresh_token", refresh_token: refreshToken, ...(scope !== undefined && { scope }) });

let mine: { code: string; verifier: string };
beforeEach(async () => {
  mine = await janesCode();
  rowsBefore = (await company.rows()).length;
});

/** The refused request as the ledger tells of it: who it was about, and where it came from. */
const theft = { client: "rolecall-cli", email: "jane@acme.example", address: "127.0.0.1", userAgent: "thief/1" };

test("a code without its verifier: one row, and its owner still gets in", async () => {
  const { status, requestId } = await redeem(mine.code, "x".repeat(43));
  expect(status).toBe(400);
  const rows = await newRows();
  expect(rows).toHaveLength(1);
  expect(rows[0]).toMatchObject({ ...theft, type: "credentials.denied", reason: "token_request_invalid", requestId });
  const line = company.logged.find(({ fields }) => fields["requestId"] === requestId);
  expect(line?.fields).toMatchObject({ route: "token", error: "invalid_grant" });
  expect((await redeem(mine.code, mine.verifier)).status).toBe(200);
});

test("a refresh token that was used: one row, with the address that it came from", async () => {
  const { body } = await redeem(mine.code, mine.verifier);
  await refresh(body["refresh_token"]);
  const { requestId } = await refresh(body["refresh_token"]);
  const rows = await newRows();
  expect(rows).toHaveLength(1);
  expect(rows[0]).toMatchObject({ ...theft, type: "grant.reused", reason: "grant_reused", requestId });
});

test("a token of less than the scope credentials: one row, and no credentials", async () => {
  const { body } = await redeem(mine.code, mine.verifier);
  const less = await refresh(body["refresh_token"], "openid");
  const headers = { authorization: `Bearer ${String(less.body["access_token"])}`, "user-agent": "thief/1" };
  const answer = await fetch(`${company.config.baseUrl}/api/v1/credentials`, { method: "POST", headers });
  expect(answer.status).toBe(403);
  const rows = await newRows();
  expect(rows).toHaveLength(1);
  expect(rows[0]).toMatchObject({ ...theft, type: "credentials.denied", reason: "scope_missing" });
});
