import { deflateRawSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { newSamlIdpKey } from "../../src/sandbox/saml/key.ts";
import { logoutRequestXml } from "../../src/sandbox/saml/response.ts";
import { signedResponse, signXml } from "../../src/sandbox/saml/sign.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { ISSUER, reasonOf, startSamlCompany, type SamlBrowser, type SamlCompany } from "../support/saml-company.ts";

/** threats.md 9: messages in an address, and the end of a sign-in that nobody has signed for. */

let redis: TestRedis;
let company: SamlCompany;
let jane: SamlBrowser;
beforeAll(async () => {
  redis = await startRedis();
  company = await startSamlCompany({ redisUrl: redis.url });
});
beforeEach(async () => {
  jane = company.browser();
  await jane.signIn();
});
afterAll(async () => {
  await company.close();
  await redis.stop();
});

function logoutRequest(over: Partial<Parameters<typeof logoutRequestXml>[0]> = {}): string {
  const destination = `${company.baseUrl}/login/saml/slo`;
  return logoutRequestXml({ issuer: ISSUER, destination, nameId: "jane-1", now: Date.now(), ...over });
}

function postLogout(xml: string): Promise<Response> {
  const fields = { SAMLRequest: Buffer.from(xml).toString("base64") };
  return company.browser().jar.post("/login/saml/slo", fields, { "sec-fetch-site": "cross-site" });
}

const signed = (xml: string): string => signXml(xml, "root", company.key);

describe("SAML parameters in a query string", () => {
  const deflated = encodeURIComponent(deflateRawSync("<samlp:LogoutRequest/>").toString("base64"));
  test.each([
    ["GET", `/login/saml?SAMLRequest=${deflated}`],
    ["GET", `/login/saml?SAMLResponse=${deflated}&RelayState=x`],
    ["GET", `/login/saml?RelayState=x`],
    ["POST", `/login/saml/acs?SAMLResponse=${deflated}`],
    ["POST", `/login/saml/acs?SAMLRequest=${deflated}&Signature=x&SigAlg=x`],
    ["POST", `/login/saml/slo?SAMLRequest=${deflated}`],
    ["GET", `/login/saml/slo?SAMLRequest=${deflated}`],
    ["GET", `/login/saml/acs?SAMLResponse=${deflated}`],
  ])("%s %s: refused, and the session stays", async (method, path) => {
    const answer = await (method === "GET" ? jane.jar.get(path) : jane.jar.post(path));
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    expect(await reasonOf(answer)).toBe(method === "GET" && /slo|acs/.test(path) ? "not_found" : "saml_in_query");
    expect(await jane.isSignedIn()).toBe(true);
  });

  test("beside an honest form: refused, and the form alone is taken", async () => {
    const begun = await jane.begin();
    const xml = signedResponse(jane.facts(begun), company.key);
    expect(await reasonOf(await jane.post(begun, xml, "acs?RelayState=x"))).toBe("saml_in_query");
    expect((await jane.post(begun, xml)).status).toBe(303);
  });
});

describe("a LogoutRequest", () => {
  test("unsigned: refused, and the session stays; signed: the session ends, and the record says so", async () => {
    const refused = await postLogout(logoutRequest());
    expect(refused.status).toBe(400);
    expect(await reasonOf(refused)).toBe("saml_signature_invalid");
    expect(await jane.isSignedIn()).toBe(true);

    expect((await postLogout(signed(logoutRequest()))).status).toBe(303);
    expect(await jane.isSignedIn()).toBe(false);
    expect((await company.rows()).at(-1)).toMatchObject({
      type: "session.ended",
      provider: "saml",
      subject: "jane-1",
      email: "jane@acme.example",
      outcome: "success",
    });
  });

  test.each([
    [
      "signed by a stranger",
      async () => signXml(logoutRequest(), "root", await newSamlIdpKey()),
      "saml_signature_invalid",
    ],
    [
      "changed afterwards",
      () => signed(logoutRequest({ nameId: "omar-1" })).replace("omar-1", "jane-1"),
      "saml_signature_invalid",
    ],
    ["of another issuer", () => signed(logoutRequest({ issuer: "urn:evil" })), "issuer_mismatch"],
    ["for another address", () => signed(logoutRequest({ destination: "https://evil.example" })), "saml_not_for_us"],
    ["of an hour ago", () => signed(logoutRequest({ now: Date.now() - 3_600_000 })), "saml_expired"],
  ])("%s: refused, and the session stays", async (_name, xml, reason) => {
    const answer = await postLogout(await xml());
    expect(await reasonOf(answer)).toBe(reason);
    expect(answer.status).toBe(400);
    expect(await jane.isSignedIn()).toBe(true);
  });

  test("a second time: refused, and who has signed in since stays so", async () => {
    const xml = signed(logoutRequest());
    expect((await postLogout(xml)).status).toBe(303);
    await jane.signIn();
    expect(await reasonOf(await postLogout(xml))).toBe("saml_replayed");
    expect(await jane.isSignedIn()).toBe(true);
  });

  test("of one session ends that one alone; of somebody else's none", async () => {
    const second = company.browser();
    await second.signIn("saml", { sessionIndex: "session-2" });
    await postLogout(signed(logoutRequest({ sessionIndex: "session-2" })));
    await postLogout(signed(logoutRequest({ nameId: "omar-1" })));
    expect(await second.isSignedIn()).toBe(false);
    expect(await jane.isSignedIn()).toBe(true);
  });
});
