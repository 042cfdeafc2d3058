import { once } from "node:events";
import { chmod, rename } from "node:fs/promises";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { STS_ERRORS } from "../../src/aws/sts-errors.ts";
import { reason, type ReasonCode } from "../../src/flow/errors.ts";
import { idpMetadataXml } from "../../src/sandbox/saml/idp-metadata.ts";
import { CookieJar } from "../support/cookie-jar.ts";
import { newSigningKey } from "../support/hostile-idp.ts";
import { samlAnswer, samlIdps, ENTITIES, type SamlAnswer, type SamlIdps } from "./support/saml.ts";
import { expectSignedIn } from "./support/refusals.ts";
import { accessToken, ANA, answerOf, credentials, JANE, providerSays } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 20: a part goes down in the middle. Refused in bounded time, nothing half-issued, and it mends by itself. */

let target: Target;
let access: string;
let saml: SamlIdps;
/** Where Auth0's SAML metadata is, if `published` says so. */
let metadata: Server;
let published: (res: ServerResponse) => void;
beforeAll(async () => {
  metadata = createServer((_req, res) => {
    published(res);
  }).listen(0, "127.0.0.1");
  await once(metadata, "listening");
  const url = `http://127.0.0.1:${(metadata.address() as AddressInfo).port}/metadata`;
  const plain = await samlIdps();
  const { config, files } = plain.options;
  saml = {
    ...plain,
    options: {
      files,
      config: (demo) => {
        const all = config(demo) as { providers: { id: string }[] };
        const at = all.providers.map((it) =>
          it.id === "auth0-saml" ? { ...it, entryPoint: undefined, metadata: { url } } : it,
        );
        return { ...all, providers: at };
      },
    },
  };
  target = await startTarget(saml.options);
  access = await accessToken(target, "okta", JANE);
});
afterAll(async () => {
  await target.close();
  metadata.close();
});

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

describe("in the middle of a sign-in by SAML", () => {
  /** The answer is posted: refused so, without a session; with `rows` in the ledger. */
  async function expectNoSession({ browser, begun, xml }: SamlAnswer, code: ReasonCode): Promise<void> {
    const { answer, rows } = await target.recorded(() => browser.post(begun, xml));
    expect(answer.status).toBe(reason(code).status);
    expect(await answer.text()).toContain(code);
    expect(rows).toEqual([]);
    expect(browser.jar.cookies.has("rolecall")).toBe(false);
  }

  test("Redis is frozen: refused, and the same answer is taken when it is back", async () => {
    const answer = await samlAnswer(target, saml, "okta", JANE);
    target.redis.pause();
    await expectNoSession(answer, "store_unavailable");
    target.redis.resume();
    await expect.poll(async () => (await fetch(`${target.url}/readyz`)).status, { timeout: 10_000 }).toBe(200);
    const { answer: taken, rows } = await target.recorded(() => answer.browser.post(answer.begun, answer.xml));
    expect([taken.status, rows.map(({ type }) => type)]).toEqual([303, ["login.succeeded"]]);
  });

  test("the ledger is locked: nobody gets in without a row, also not by the same answer later; a new sign-in goes through", async () => {
    const answer = await samlAnswer(target, saml, "okta", JANE);
    const other = new DatabaseSync(join(target.folder, "ledger.db"));
    other.exec("BEGIN EXCLUSIVE");
    const refused = await answer.browser.post(answer.begun, answer.xml);
    other.close();
    expect(refused.status).toBe(reason("ledger_unavailable").status);
    expect(answer.browser.jar.cookies.has("rolecall")).toBe(false);
    // It is used up: single use holds whatever became of it.
    expect((await answer.browser.post(answer.begun, answer.xml)).status).toBe(400);
    expect(answer.browser.jar.cookies.has("rolecall")).toBe(false);
    const again = await samlAnswer(target, saml, "okta", JANE);
    expect((await again.browser.post(again.begun, again.xml)).status).toBe(303);
  });

  test.for<[string, (res: ServerResponse) => unknown, ReasonCode]>([
    ["answers 503", (res) => res.writeHead(503).end(), "idp_unreachable"],
    ["is cut off", (res) => res.destroy(), "idp_unreachable"],
    ["answers what is no metadata", (res) => res.writeHead(200).end("<html>"), "idp_metadata_invalid"],
    // Kept whole, it would be 100 MB; no more than 1 MB is read.
    ["answers without an end", flood, "idp_metadata_invalid"],
  ])("the provider's metadata %s: no sign-in begins, and the next one does", async ([, respond, code]) => {
    published = respond;
    const { answer } = await target.recorded(() => new CookieJar(target.url).get("/login/auth0-saml"));
    expect(answer.status).toBe(reason(code).status);
    expect(await answer.text()).toContain(code);
    expect((await new CookieJar(target.url).get("/login/okta-saml")).status).toBe(302);
  });

  test("and it mends by itself", async () => {
    published = (res) => {
      const certificates = [saml.keys.auth0.certificate];
      res.end(idpMetadataXml({ entityId: ENTITIES.auth0, entryPoint: "http://localhost:9/sso", certificates }));
    };
    const { browser, begun, xml } = await samlAnswer(target, saml, "auth0", ANA);
    expect((await browser.post(begun, xml)).status).toBe(303);
  });
});

/** Bytes as fast as they are read, until nobody does. */
function flood(res: ServerResponse): void {
  const more = (): void => {
    if (!res.destroyed && res.write("<a/>".repeat(16_384))) setImmediate(more);
  };
  res.on("drain", more);
  more();
}
