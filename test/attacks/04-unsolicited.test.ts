import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { signedResponse, signXml } from "../../src/sandbox/saml/sign.ts";
import { responseXml } from "../../src/sandbox/saml/response.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { Siege } from "../support/saml-attack.ts";
import { reasonOf, startSamlCompany, type SamlCompany } from "../support/saml-company.ts";

/** threats.md 4: an assertion that nobody asked for. */

let redis: TestRedis;
let company: SamlCompany;
let siege: Siege;
beforeAll(async () => {
  redis = await startRedis();
  company = await startSamlCompany({ redisUrl: redis.url, providers: [{ id: "loose", wantResponseSigned: false }] });
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

test.each(["", "https://rolecall.example/", "saml"])(
  "sign-in begun by the provider, RelayState %j: off, and no row",
  async (relayState) => {
    const browser = company.browser();
    const before = (await company.rows()).length;
    const facts = browser.facts({ provider: "saml", requestId: "" });
    const xml = signedResponse(facts, company.key).replaceAll(' InResponseTo=""', "");
    const answer = await browser.post({ provider: "saml", relayState }, xml);
    expect(await reasonOf(answer)).toBe(relayState === "" ? "saml_unsolicited" : "login_state_unknown");
    expect(answer.status).toBe(400);
    expect((await company.rows()).length).toBe(before);
    expect((await browser.signIn()).status).toBe(303);
  },
);

describe("under the RelayState of a sign-in of one's own", () => {
  test("an assertion that answers no request", async () => {
    await siege.expectRefused({
      reason: "saml_unsolicited",
      forge: (facts) => {
        const xml = responseXml(facts).replaceAll(/ InResponseTo="[^"]*"/g, "");
        return signXml(signXml(xml, "Assertion", company.key), "root", company.key);
      },
    });
  });

  test("one that answers another request", async () => {
    await siege.expectRefused({
      reason: "saml_unsolicited",
      forge: (facts) => signedResponse({ ...facts, inResponseTo: "_another" }, company.key),
    });
  });

  test.each([
    ["answers no request", (xml: string) => xml.replace(/(<saml:SubjectConfirmationData) InResponseTo="[^"]*"/, "$1")],
    [
      "answers another request",
      (xml: string) => xml.replace(/(<saml:SubjectConfirmationData InResponseTo=")[^"]*/, "$1_another"),
    ],
  ])("a stolen assertion that %s, in a Response that says it does, unsigned", async (_name, change) => {
    await siege.expectRefused({
      provider: "loose",
      reason: "saml_unsolicited",
      forge: (facts) => signXml(change(responseXml(facts)), "Assertion", company.key),
    });
  });
});
