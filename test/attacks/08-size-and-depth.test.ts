import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { deflateRawSync } from "node:zlib";
import { DOMParser } from "@xmldom/xmldom";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { ReasonCode } from "../../src/flow/errors.ts";
import { responseXml, type ResponseFacts } from "../../src/sandbox/saml/response.ts";
import { signedResponse, signXml } from "../../src/sandbox/saml/sign.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import {
  reasonOf,
  startSamlCompany,
  type BegunSignIn,
  type SamlBrowser,
  type SamlCompany,
} from "../support/saml-company.ts";

/**
 * threats.md 8: what is large, deep, becomes so, or is no XML at all. Nothing of it may come to a parser, so that it takes
 * no time worth naming (docs/performance.md), and none of it may be kept. And answers with somebody missing in them.
 */

let redis: TestRedis;
let company: SamlCompany;
let browser: SamlBrowser;
let begun: BegunSignIn;
beforeAll(async () => {
  redis = await startRedis();
  company = await startSamlCompany({
    redisUrl: redis.url,
    providers: [
      { id: "by-attribute", directory: "staff", emailDomains: ["labs.acme.example"], subjectClaim: "employee" },
    ],
  });
  browser = company.browser();
  begun = await browser.begin();
});
// Last, and also where the company could not begin: what still runs would keep the tests from their end.
afterAll(() => redis.stop());
afterAll(async () => {
  try {
    // The honest answer to the sign-in that all of these were posted for.
    const honest = await browser.post(begun, signedResponse(browser.facts(begun), company.key));
    expect(honest.status).toBe(303);
  } finally {
    await company.close();
  }
});

/** Looks on, and lets it work: the one parser behind node-saml, xml-crypto and ourselves. */
const parsing = vi.spyOn(DOMParser.prototype, "parseFromString");

const base64 = (text: string, encoding: BufferEncoding = "utf8"): string =>
  Buffer.from(text, encoding).toString("base64");
const declared = (encoding: string): string => `<?xml version="1.0" encoding="${encoding}"?><Response/>`;

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
  ["10 MB, deflated as in an address", "request_malformed", () => "eNrt".repeat(2_500_000)],
  ["half a UTF-8 character", "saml_malformed", () => Buffer.from([0x3c, 0x61, 0xc3, 0x3e]).toString("base64")],
  ["Latin-1", "saml_malformed", () => base64("<a>\u00e9</a>", "latin1")],
  ["UTF-16", "saml_malformed", () => base64(`\ufeff${declared("UTF-16")}`, "utf16le")],
  ["UTF-16 without a mark", "saml_malformed", () => base64(declared("UTF-16"), "utf16le")],
  ["UTF-8 that says UTF-16", "saml_malformed", () => base64(declared("UTF-16"))],
  ["UTF-7", "saml_malformed", () => base64(declared("UTF-7").replaceAll("<", "+ADw-"))],
  ["EBCDIC, by its name", "saml_malformed", () => base64(declared("IBM037"))],
  ["no base64", "saml_malformed", () => "<Response/>"],
  ["base64url", "saml_malformed", () => "PD94-_8_"],
  ["no XML", "saml_malformed", () => Buffer.from("hello").toString("base64")],
  ["nothing", "saml_malformed", () => ""],
];

test.each(ROWS)("%s: %s", async (_name, reason, saml) => {
  const fields = { SAMLResponse: saml(), RelayState: begun.relayState };
  parsing.mockClear();
  const answer = await browser.jar.post("/login/saml/acs", fields, { "sec-fetch-site": "cross-site" });
  expect(answer.status).toBe(400);
  expect(await reasonOf(answer)).toBe(reason);
  expect(parsing).not.toHaveBeenCalled();
});

test("what is built as it should be is parsed: the parser is really looked at", async () => {
  parsing.mockClear();
  const honest = await company.browser().signIn();
  expect(honest.status).toBe(303);
  expect(parsing).toHaveBeenCalled();
});

describe("the process keeps nothing of it", () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const inUse = (): number => {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };

  test("after 30 MB in messages that were read and refused", async () => {
    const body = new URLSearchParams({ SAMLResponse: base64("<a>".repeat(50_000)), RelayState: begun.relayState });
    const flood = async (times: number): Promise<void> => {
      for (let i = 0; i < times; i += 1) {
        const answer = await fetch(`${company.url}/login/saml/acs`, { method: "POST", body });
        expect(answer.status).toBe(400);
        await answer.text();
      }
    };
    await flood(20);
    const before = inUse();
    await flood(150);
    expect(inUse() - before).toBeLessThan(4_000_000);
  });

  test.each(["said at the beginning", "not said"])("400 MB in 40 forms at once, whose length is %s", async (length) => {
    const body = Buffer.alloc(10_000_000, "SAMLResponse=");
    const before = process.memoryUsage().rss;
    const statuses = await Promise.all(Array.from({ length: 40 }, () => postForm(body, length !== "not said")));
    // Cut off in the middle is an answer, too.
    expect(statuses.filter((status) => status !== 400 && status !== "cut off")).toEqual([]);
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000);
  });
});

/** The answer's status. Nothing is copied on this side of the connection, which is in the same process. */
async function postForm(body: Buffer, withLength: boolean): Promise<number | "cut off"> {
  const asking = request(`${company.url}/login/saml/acs`, {
    method: "POST",
    agent: false,
    headers: {
      "content-type": "application/x-www-form-urlencoded",
      ...(withLength && { "content-length": String(body.length) }),
    },
  });
  try {
    const answered = once(asking, "response") as Promise<[IncomingMessage]>;
    asking.end(body);
    const [answer] = await answered;
    return answer.statusCode ?? 0;
  } catch {
    return "cut off";
  } finally {
    asking.destroy();
  }
}

describe("an answer that somebody is missing in", () => {
  const changed = (change: (xml: string) => string) => (facts: ResponseFacts) =>
    signXml(signXml(change(responseXml(facts)), "Assertion", company.key), "root", company.key);
  test.each<[string, string, ReasonCode, (facts: ResponseFacts) => string]>([
    ["no NameID", "saml", "saml_malformed", changed((xml) => xml.replace(/<saml:NameID.*<\/saml:NameID>/, ""))],
    ["an empty NameID", "saml", "subject_missing", changed((xml) => xml.replace(">jane-1<", "><"))],
    ["no attribute at all", "saml", "email_missing", (it) => signedResponse({ ...it, attributes: {} }, company.key)],
    ["no email", "saml", "email_missing", (it) => signedResponse({ ...it, attributes: { groups: "a" } }, company.key)],
    [
      "an empty email",
      "saml",
      "email_missing",
      (it) => signedResponse({ ...it, attributes: { email: "" } }, company.key),
    ],
    [
      "not the attribute that says who it is",
      "by-attribute",
      "subject_missing",
      (it) => signedResponse(it, company.key),
    ],
  ])("%s, at %s: %s, in one row", async (_name, provider, reason, forge) => {
    const before = (await company.rows()).length;
    const other = company.browser();
    const signIn = await other.begin(provider);
    const answer = await other.post(signIn, forge(other.facts(signIn)));
    expect([answer.status < 500, await reasonOf(answer)]).toEqual([true, reason]);
    expect((await company.rows()).slice(before)).toMatchObject([{ type: "login.denied", provider, reason }]);
    expect(await other.isSignedIn()).toBe(false);
  });

  test("and one with that attribute is taken", async () => {
    const attributes = { email: "omar@labs.acme.example", employee: "e-1" };
    expect((await company.browser().signIn("by-attribute", { attributes })).status).toBe(303);
  });
});
