import { afterAll, beforeAll, expect, test } from "vitest";
import { signedResponse } from "../../src/sandbox/saml/sign.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { reasonOf, startSamlCompany, type SamlBrowser, type SamlCompany } from "../support/saml-company.ts";

/** threats.md 5: somebody else's answer, and an answer for somebody else. */

let redis: TestRedis;
let company: SamlCompany;
beforeAll(async () => {
  redis = await startRedis();
  company = await startSamlCompany({ redisUrl: redis.url, providers: [{ id: "second" }] });
});
afterAll(async () => {
  await company.close();
  await redis.stop();
});

/** Begins at the same provider, so that it has a sign-in cookie of its own. */
async function thief(): Promise<SamlBrowser> {
  const browser = company.browser();
  await browser.begin();
  return browser;
}

test.each([
  ["that began a sign-in too", thief],
  ["without any cookie", () => Promise.resolve(company.browser())],
])("a victim's answer from a browser %s: refused, and the victim's own is still taken", async (_name, other) => {
  const victim = company.browser();
  const begun = await victim.begin();
  const xml = signedResponse(victim.facts(begun), company.key);
  const attacker = await other();
  const before = (await company.rows()).length;
  const answer = await attacker.post(begun, xml);
  expect(await reasonOf(answer)).toBe("login_other_browser");
  expect(await attacker.isSignedIn()).toBe(false);
  expect((await company.rows()).length).toBe(before);
  expect((await victim.post(begun, xml)).status).toBe(303);
  expect(await victim.isSignedIn()).toBe(true);
});

test("the attacker's own answer, posted by the victim's browser (login CSRF): nobody is signed in", async () => {
  const attacker = company.browser();
  const begun = await attacker.begin();
  const xml = signedResponse(attacker.facts(begun), company.key);
  const victim = await thief();
  expect(await reasonOf(await victim.post(begun, xml))).toBe("login_other_browser");
  expect(await victim.isSignedIn()).toBe(false);
  expect((await attacker.post(begun, xml)).status).toBe(303);
});

test("rubbish under a victim's RelayState does not end the sign-in, whoever sends it", async () => {
  const victim = company.browser();
  const begun = await victim.begin();
  expect(await reasonOf(await (await thief()).post(begun, "<x/>"))).toBe("login_other_browser");
  expect(await reasonOf(await victim.post(begun, "<x/>"))).toBe("saml_malformed");
  const xml = signedResponse(victim.facts(begun), company.key);
  expect((await victim.post(begun, xml)).status).toBe(303);
});

test("an answer that comes to another provider's address: refused (mix-up)", async () => {
  const browser = company.browser();
  const begun = await browser.begin("saml");
  const xml = signedResponse(browser.facts(begun), company.key);
  expect(await reasonOf(await browser.post({ ...begun, provider: "second" }, xml))).toBe("issuer_mismatch");
  expect((await company.rows()).at(-1)).toMatchObject({ type: "login.denied", reason: "issuer_mismatch" });
  expect((await browser.post(begun, xml)).status).toBe(303);
});

test("the cookie that comes along from another site is a short-lived one of its own, and no session", async () => {
  const answer = await company.browser().jar.get("/login/saml");
  expect(answer.headers.getSetCookie()).toEqual([
    expect.stringMatching(
      /^rolecall-saml-login=[\w-]{43}; Max-Age=600; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=None$/,
    ),
  ]);
});
