import { afterAll, beforeAll, expect, test } from "vitest";
import { redisOf } from "../support/redis-writer.ts";
import { signedResponse } from "../../src/sandbox/saml/sign.ts";
import { CookieJar } from "../support/cookie-jar.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { reasonOf, startSamlCompany, type SamlCompany } from "../support/saml-company.ts";

/** threats.md 3: one answer, posted by everybody at once. */

let redis: TestRedis;
let one: SamlCompany;
let other: SamlCompany;
beforeAll(async () => {
  redis = await startRedis();
  one = await startSamlCompany({ redisUrl: redis.url });
  const { baseUrl, folder, key } = one;
  other = await startSamlCompany({ redisUrl: redis.url, baseUrl, folder, key });
});
afterAll(async () => {
  await other.close();
  await one.close();
  await redis.stop();
});

test("fifty posts of one response to two brokers make one session", async () => {
  const browser = one.browser();
  const begun = await browser.begin();
  const xml = signedResponse(browser.facts(begun), one.key);
  const jars = Array.from({ length: 50 }, (_, i) => {
    const jar = new CookieJar(i % 2 === 0 ? one.url : other.url);
    for (const [name, value] of browser.jar.cookies) jar.cookies.set(name, value);
    return jar;
  });
  const fields = { SAMLResponse: Buffer.from(xml).toString("base64"), RelayState: begun.relayState };
  const answers = await Promise.all(
    jars.map((jar) => jar.post("/login/saml/acs", fields, { "sec-fetch-site": "cross-site" })),
  );
  expect(answers.filter(({ status }) => status === 303)).toHaveLength(1);
  expect(jars.filter((jar) => jar.cookies.has("rolecall"))).toHaveLength(1);
  const refused = await Promise.all(answers.filter(({ status }) => status !== 303).map(reasonOf));
  expect(new Set([...refused, "saml_replayed", "login_state_unknown"]).size).toBe(2);
  const succeeded = (await one.rows()).filter(({ type }) => type === "login.succeeded");
  expect(succeeded).toHaveLength(1);
});

test("a sign-in that somebody puts back into Redis is still used up", async () => {
  const browser = one.browser();
  const begun = await browser.begin();
  const writer = redisOf(redis);
  const pending = await writer.copy("rolecall:login:*");
  const xml = signedResponse(browser.facts(begun), one.key);
  expect((await browser.post(begun, xml)).status).toBe(303);
  await writer.restore(pending);
  writer.close();
  const again = await browser.post(begun, xml);
  expect(await reasonOf(again)).toBe("saml_replayed");
  expect((await one.rows()).at(-1)).toMatchObject({ type: "login.denied", reason: "saml_replayed" });
  expect((await browser.signIn()).status).toBe(303);
});
