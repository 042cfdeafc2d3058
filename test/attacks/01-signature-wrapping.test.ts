import { SignedXml } from "xml-crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { responseXml, type ResponseFacts } from "../../src/sandbox/saml/response.ts";
import { signedResponse, signXml } from "../../src/sandbox/saml/sign.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { Siege } from "../support/saml-attack.ts";
import { startSamlCompany, type SamlCompany } from "../support/saml-company.ts";
import { WRAPPINGS } from "../support/saml-wrapping.ts";

/** threats.md 1: XSW1-8 of what a provider signed, by the Response, the Assertion or both; and at a provider for which the Assertion alone will do. */

let redis: TestRedis;
let company: SamlCompany;
let siege: Siege;
beforeAll(async () => {
  redis = await startRedis();
  const providers = [{ id: "loose", wantResponseSigned: false }];
  company = await startSamlCompany({ redisUrl: redis.url, providers });
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

const SIGNED: Readonly<Record<string, (facts: ResponseFacts) => string>> = {
  Response: (facts) => signXml(responseXml(facts), "root", company.key),
  Assertion: (facts) => signedResponse(facts, company.key, { response: false }),
  both: (facts) => signedResponse(facts, company.key),
};

const CASES = Object.keys(WRAPPINGS).flatMap((name) => Object.keys(SIGNED).map((signed) => [name, signed] as const));

describe("a wrapped answer is refused", () => {
  test.each(CASES)("%s (signed: %s)", async (name, signed) => {
    await siege.expectRefused({
      // Where the Response must be signed too, the Assertion's signature alone would be too little in any case.
      provider: signed === "Assertion" ? "loose" : "saml",
      forge: (facts) => {
        const wrapped = WRAPPINGS[name]?.(SIGNED[signed]?.(facts) ?? "") ?? "";
        expect(wrapped).toContain("ceo@acme.example");
        return wrapped;
      },
    });
  });
});

test.each(Object.keys(WRAPPINGS).slice(2))(
  "%s: who only asks whether a signature holds would be taken in",
  async (name) => {
    const browser = company.browser();
    const facts = browser.facts(await browser.begin());
    const wrapped = WRAPPINGS[name]?.(SIGNED["Assertion"]?.(facts) ?? "") ?? "";
    const verifier = new SignedXml({ publicCert: company.key.certificate });
    verifier.loadSignature(/<ds:Signature [^]*<\/ds:Signature>/.exec(wrapped)?.[0] ?? "");
    expect(verifier.checkSignature(wrapped)).toBe(true);
  },
);
