import { chmod, rename } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { STS_ERRORS } from "../../src/aws/sts-errors.ts";
import { reason, type ReasonCode } from "../../src/flow/errors.ts";
import { CookieJar } from "../support/cookie-jar.ts";
import { newSigningKey } from "../support/hostile-idp.ts";
import { expectSignedIn } from "./support/refusals.ts";
import { accessToken, answerOf, credentials, JANE, providerSays } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 20: a part goes down in the middle. Refused in bounded time, nothing half-issued, and it mends by itself. */

let target: Target;
let access: string;
beforeAll(async () => {
  target = await startTarget();
  access = await accessToken(target, "okta", JANE);
});
afterAll(() => target.close());

async function expectRefusal(code: ReasonCode): Promise<void> {
  const { status, body } = await credentials(target, access);
  expect({ status, code: body["code"], key: body["AccessKeyId"] }).toEqual({ status: reason(code).status, code });
}

async function expectServed(): Promise<void> {
  const { answer, rows } = await target.recorded(() => credentials(target, access));
  expect(answer).toMatchObject({ status: 200, body: { Version: 1 } });
  expect(rows.map(({ type }) => type)).toEqual(["credentials.requested", "credentials.issued"]);
}

describe("the ledger's file can't be written: no credentials and no call of STS", () => {
  const file = (name = "ledger.db"): string => join(target.folder, name);
  const faults: [string, () => Promise<() => Promise<void>>][] = [
    [
      "read-only",
      async () => {
        await chmod(file(), 0o400);
        return () => chmod(file(), 0o600);
      },
    ],
    [
      "moved away",
      async () => {
        await rename(file(), file("elsewhere.db"));
        return () => rename(file("elsewhere.db"), file());
      },
    ],
    [
      "locked by another process",
      () => {
        const other = new DatabaseSync(file());
        other.exec("BEGIN EXCLUSIVE");
        return Promise.resolve(() => {
          other.close();
          return Promise.resolve();
        });
      },
    ],
  ];
  test.for(faults)("%s", async ([, breakIt]) => {
    await expectServed();
    const called = target.aws.calls();
    const mend = await breakIt();
    await expectRefusal("ledger_unavailable");
    expect(target.aws.calls()).toBe(called);
    await mend();
    await expectServed();
  });
});

describe("the identity provider, between the browser's going and its coming back", () => {
  const down: [string, (path: string, res: ServerResponse) => boolean][] = [
    ["its keys answer 503", (path, res) => path === "/jwks" && Boolean(res.writeHead(503).end())],
    ["its keys are cut off", (path, res) => path === "/jwks" && Boolean(res.destroy())],
    ["its keys answer what is no JSON", (path, res) => path === "/jwks" && Boolean(res.writeHead(200).end("<html>"))],
    ["its tokens answer 503", (path, res) => path === "/token" && Boolean(res.writeHead(503).end())],
    ["its tokens are cut off", (path, res) => path === "/token" && Boolean(res.destroy())],
  ];
  test.for(down)("%s: refused in one row, no session, and the next sign-in goes through", async ([, respond]) => {
    const { okta } = target.idps;
    // A key that the broker has not seen makes it ask.
    okta.key = await newSigningKey(`key-${okta.seen.length}`);
    await expectBroken(respond);
    await expectSignedIn(target, "okta", JANE);
  });

  test("its keys never answer: refused within the sign-in's deadline", { timeout: 30_000 }, async () => {
    const { okta } = target.idps;
    okta.key = await newSigningKey("key-slow");
    await expectBroken((path) => path === "/jwks");
    await expectSignedIn(target, "okta", JANE);
  });

  async function expectBroken(respond: (path: string, res: ServerResponse) => boolean): Promise<void> {
    const { behavior } = target.idps.okta;
    providerSays(target, "okta", JANE);
    const jar = new CookieJar(target.url);
    const answer = await answerOf(target, jar, "okta");
    behavior.respond = respond;
    const { answer: refused, rows } = await target.recorded(() => jar.get(answer.href));
    delete behavior.respond;
    expect(refused.status).toBe(502);
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ type: "login.denied", provider: "okta" });
    expect(["idp_unreachable", "idp_response_invalid"]).toContain(rows[0]?.reason);
    expect(jar.cookies.has("rolecall")).toBe(false);
  }
});

describe("STS says no: its own reason, recorded as the outcome of the request", () => {
  async function expectFailed(code: ReasonCode): Promise<void> {
    const { rows } = await target.recorded(() => expectRefusal(code));
    expect(rows.map(({ type }) => type)).toEqual(["credentials.requested", "credentials.failed"]);
    expect(rows[1]).toMatchObject({ reason: code, outcome: "failed", requestId: rows[0]?.requestId });
    await expectServed();
  }

  test.for(STS_ERRORS.map((row) => [row.wireCode, row] as const))("%s", async ([, row]) => {
    const before = target.aws.calls();
    target.aws.fail(...Array.from({ length: row.retry ? 5 : 1 }, () => ({ kind: "error", ...row }) as const));
    await expectRefusal(row.reason);
    expect(target.aws.calls() - before > 1).toBe(row.retry);
    const [requested, failed] = (await target.rows()).slice(-2);
    expect(failed).toMatchObject({ type: "credentials.failed", reason: row.reason, outcome: "failed" });
    expect(requested).toMatchObject({ type: "credentials.requested", requestId: failed?.requestId });
    await expectServed();
  });

  test("it answers what is no session", async () => {
    target.aws.fail({ kind: "answer", status: 200, body: "<html/>" });
    await expectFailed("sts_response_invalid");
  });
});

test.for(["frozen", "stopped"] as const)("Redis is %s: refused, and served again when it is back", async (fault) => {
  await expectServed();
  const called = target.aws.calls();
  if (fault === "frozen") target.redis.pause();
  else await target.redis.stop();
  const { rows } = await target.recorded(() => expectRefusal("store_unavailable"));
  expect(rows).toEqual([]);
  expect((await fetch(`${target.url}/login/okta`, { redirect: "manual" })).status).toBe(503);
  expect(target.aws.calls()).toBe(called);
  if (fault === "frozen") target.redis.resume();
  else await target.redis.start();
  await expect.poll(async () => (await fetch(`${target.url}/readyz`)).status, { timeout: 10_000 }).toBe(200);
  // A Redis that came back empty has forgotten who was signed in.
  if (fault === "stopped") access = await accessToken(target, "okta", JANE);
  await expectServed();
});
