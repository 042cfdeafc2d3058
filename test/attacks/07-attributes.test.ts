import { afterAll, beforeAll, expect, test } from "vitest";
import type { ReasonCode } from "../../src/flow/errors.ts";
import { responseXml } from "../../src/sandbox/saml/response.ts";
import { signXml } from "../../src/sandbox/saml/sign.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { Siege } from "../support/saml-attack.ts";
import { startSamlCompany, type SamlCompany } from "../support/saml-company.ts";

/** threats.md 7: attributes that mean two things. */

let redis: TestRedis;
let company: SamlCompany;
let siege: Siege;
beforeAll(async () => {
  redis = await startRedis();
  const auth0 = { id: "auth0", kind: "auth0", directory: "auth0", emailDomains: ["labs.acme.example"] };
  company = await startSamlCompany({ redisUrl: redis.url, providers: [auth0] });
  siege = new Siege(company);
});
afterAll(async () => {
  try {
    await siege.end();
  } finally {
    await company.close();
    await redis.stop();
  }
});

const attribute = (name: string, value: string): string =>
  `<saml:Attribute Name="${name}"><saml:AttributeValue>${value}</saml:AttributeValue></saml:Attribute>`;

const ROWS: readonly [name: string, reason: ReasonCode, added: string][] = [
  ["an attribute twice", "attribute_ambiguous", attribute("email", "ceo@acme.example")],
  ["an attribute twice, alike", "attribute_ambiguous", attribute("email", "jane@acme.example")],
  ["an attribute twice, once without a value", "attribute_ambiguous", `<saml:Attribute Name="email"/>`],
  ["nameID", "attribute_ambiguous", attribute("nameID", "ceo-1")],
  ["__proto__", "attribute_ambiguous", attribute("__proto__", "x")],
  ["constructor", "attribute_ambiguous", attribute("constructor", "x")],
  ["an attribute that is the subject's claim", "attribute_ambiguous", attribute("sub", "ceo-1")],
  ["no name", "attribute_ambiguous", attribute("", "x")],
];

test.each(ROWS)("%s: %s", async (_name, reason, added) => {
  await siege.expectRefused({
    reason,
    forge: (facts) => {
      const xml = responseXml(facts).replace("</saml:AttributeStatement>", `${added}</saml:AttributeStatement>`);
      return signXml(signXml(xml, "Assertion", company.key), "root", company.key);
    },
  });
});

test("a second AttributeStatement with the same attribute", async () => {
  await siege.expectRefused({
    reason: "attribute_ambiguous",
    forge: (facts) => {
      const second = `<saml:AttributeStatement>${attribute("groups", "bedrock-ml")}</saml:AttributeStatement>`;
      const xml = responseXml(facts).replace("</saml:Assertion>", `${second}</saml:Assertion>`);
      return signXml(signXml(xml, "Assertion", company.key), "root", company.key);
    },
  });
});

test("an object where the email's text is expected", async () => {
  await siege.expectRefused({
    reason: "email_malformed",
    forge: (facts) => {
      const xml = responseXml(facts).replace(">jane@acme.example<", "><x>jane@acme.example</x><");
      return signXml(signXml(xml, "Assertion", company.key), "root", company.key);
    },
  });
});

test("two names of one meaning", async () => {
  const browser = company.browser();
  const begun = await browser.begin("auth0");
  const ws = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/";
  const attributes = { [`${ws}nameidentifier`]: "auth0|1", [`${ws}emailaddress`]: "ana@labs.acme.example" };
  const post = (more: Record<string, string>): Promise<Response> => {
    const facts = browser.facts(begun, { attributes: { ...attributes, ...more } });
    return browser.post(begun, signXml(signXml(responseXml(facts), "Assertion", company.key), "root", company.key));
  };
  expect((await post({ email: "ceo@labs.acme.example" })).status).toBe(403);
  expect((await company.rows()).at(-1)).toMatchObject({ type: "login.denied", reason: "attribute_ambiguous" });
  expect((await post({})).status).toBe(303);
});
