import { deflateRawSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ReasonCode } from "../../src/flow/errors.ts";
import { signedResponse } from "../../src/sandbox/saml/sign.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import {
  reasonOf,
  startSamlCompany,
  type BegunSignIn,
  type SamlBrowser,
  type SamlCompany,
} from "../support/saml-company.ts";

/** threats.md 8: what is large, deep, or becomes so. Nothing here may be parsed, so that it takes no time worth naming. */

let redis: TestRedis;
let company: SamlCompany;
let browser: SamlBrowser;
let begun: BegunSignIn;
beforeAll(async () => {
  redis = await startRedis();
  company = await startSamlCompany({ redisUrl: redis.url });
  browser = company.browser();
  begun = await browser.begin();
});
afterAll(async () => {
  try {
    // The honest answer to the sign-in that all of these were posted for.
    const honest = await browser.post(begun, signedResponse(browser.facts(begun), company.key));
    expect(honest.status).toBe(303);
  } finally {
    await company.close();
    await redis.stop();
  }
});

const NESTED = "<a>".repeat(100_000) + "</a>".repeat(100_000);

const ROWS: readonly [name: string, reason: ReasonCode, saml: () => string][] = [
  ["10 MB of base64", "request_malformed", () => "QUFB".repeat(2_500_000)],
  ["100,000 nested elements", "request_malformed", () => Buffer.from(NESTED).toString("base64")],
  ["20,000 nested elements", "saml_malformed", () => Buffer.from(NESTED.slice(0, 60_000)).toString("base64")],
  ["30,000 tags that do not end", "saml_malformed", () => Buffer.from("<a ".repeat(30_000)).toString("base64")],
  ["30,000 elements that do not end", "saml_malformed", () => Buffer.from("<a>".repeat(30_000)).toString("base64")],
  ["30,000 siblings", "saml_malformed", () => Buffer.from(`<r>${"<a/>".repeat(30_000)}</r>`).toString("base64")],
  [
    "10,000 attributes",
    "saml_malformed",
    () => Buffer.from(`<r ${Array.from({ length: 10_000 }, (_, i) => `a${i}=""`).join(" ")}/>`).toString("base64"),
  ],
  ["100,000 blanks in a tag", "saml_malformed", () => Buffer.from(`<r${" ".repeat(100_000)}`).toString("base64")],
  ["100 MB, deflated", "saml_malformed", () => deflateRawSync(Buffer.alloc(100_000_000)).toString("base64")],
  ["no base64", "saml_malformed", () => "<Response/>"],
  ["base64url", "saml_malformed", () => "PD94-_8_"],
  ["no XML", "saml_malformed", () => Buffer.from("hello").toString("base64")],
  ["nothing", "saml_malformed", () => ""],
];

test.each(ROWS)("%s: %s", async (_name, reason, saml) => {
  const fields = { SAMLResponse: saml(), RelayState: begun.relayState };
  const answer = await browser.jar.post("/login/saml/acs", fields, { "sec-fetch-site": "cross-site" });
  expect(answer.status).toBe(400);
  expect(await reasonOf(answer)).toBe(reason);
});

test("the process has kept nothing of it", () => {
  expect(process.memoryUsage().rss).toBeLessThan(1_000_000_000);
});
