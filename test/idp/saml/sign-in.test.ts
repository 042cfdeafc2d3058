import { createVerify, X509Certificate } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newSamlIdpKey, type SamlIdpKey } from "../../../src/sandbox/saml/key.ts";
import { responseXml } from "../../../src/sandbox/saml/response.ts";
import { encryptAssertion, signedResponse, signXml } from "../../../src/sandbox/saml/sign.ts";
import { reasonOf, startSamlCompany, TENANT, type SamlCompany } from "../../support/saml-company.ts";

const WS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/";
const MICROSOFT = "http://schemas.microsoft.com/identity/claims/";
const ENTRA_ISSUER = `https://sts.windows.net/${TENANT}/`;
const OID = "6a5d2c14-03b7-4b7d-9b0e-7f1a2c3d4e01";
const CBC = "http://www.w3.org/2001/04/xmlenc#aes256-cbc";

let now = Date.now();
let company: SamlCompany;
/** The provider's next key, while one replaces the other. */
let nextKey: SamlIdpKey;

beforeAll(async () => {
  nextKey = await newSamlIdpKey();
  const directory = (id: string) => ({ id, kind: id, directory: id, emailDomains: [`${id}.example`] });
  company = await startSamlCompany({
    now: () => now,
    files: { "next.pem": nextKey.certificate },
    provider: { certificates: [{ file: "idp.pem" }, { file: "next.pem" }] },
    providers: [
      { id: "loose", wantResponseSigned: false },
      { id: "posted", requestBinding: "HTTP-POST", forceAuthn: true },
      { ...directory("okta"), subjectClaim: "sub" },
      { ...directory("entra"), issuer: ENTRA_ISSUER },
      directory("auth0"),
    ],
  });
});
afterAll(() => company.close());

/** The `<ds:X509Certificate>`s of the broker's metadata, by their use. */
async function certificateFor(use: "signing" | "encryption"): Promise<X509Certificate> {
  const metadata = await (await company.browser().jar.get("/login/saml/metadata")).text();
  const key = new RegExp(`use="${use}"[^]*?<ds:X509Certificate>([^<]*)<`).exec(metadata)?.[1] ?? "";
  return new X509Certificate(Buffer.from(key, "base64"));
}

describe("a sign-in", () => {
  test("gives a session, and the record has who it is", async () => {
    const browser = company.browser();
    const answer = await browser.signIn();
    expect(answer.status).toBe(303);
    expect(answer.headers.get("location")).toBe("/");
    expect(await browser.isSignedIn()).toBe(true);
    expect((await company.rows()).at(-1)).toMatchObject({
      type: "login.succeeded",
      provider: "saml",
      directory: "acme",
      subject: "jane-1",
      email: "jane@acme.example",
      claims: { groups: ["everyone", "bedrock-search"] },
      sessionName: "jane@acme.example",
    });
  });

  test("is asked for by a request that is signed with SHA-256 and names us alone", async () => {
    const { location, request } = await company.browser().begin();
    const query = new URL(location).search.slice(1).split("&");
    const signed = query.filter((pair) => !pair.startsWith("Signature=")).join("&");
    const signature = new URL(location).searchParams.get("Signature") ?? "";
    const verifier = createVerify("RSA-SHA256").update(signed);
    expect(verifier.verify((await certificateFor("signing")).publicKey, signature, "base64")).toBe(true);
    expect(request).toContain(
      `<saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">${company.baseUrl}/login/saml/metadata`,
    );
    expect(request).toContain(`AssertionConsumerServiceURL="${company.baseUrl}/login/saml/acs"`);
    expect(request).toContain('Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"');
    expect(request).not.toContain("ForceAuthn");
  });

  test("is asked for by a form, with a signature in the message, where the provider wants it so", async () => {
    const { jar } = company.browser();
    const answer = await jar.get("/login/posted");
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-security-policy")).toContain("form-action 'self' http:");
    const page = await answer.text();
    expect(page).toContain('action="http://localhost:9/sso"');
    const message = /name="SAMLRequest" value="([^"]*)"/.exec(page)?.[1] ?? "";
    const xml = Buffer.from(message, "base64").toString();
    expect(xml).toContain("rsa-sha256");
    expect(xml).toContain('ForceAuthn="true"');
    const relayState = /name="RelayState" value="([^"]*)"/.exec(page)?.[1] ?? "";
    const requestId = / ID="([^"]+)"/.exec(xml)?.[1] ?? "";
    const browser = company.browser();
    for (const [name, value] of jar.cookies) browser.jar.cookies.set(name, value);
    const begun = { provider: "posted", requestId, relayState };
    expect((await browser.post(begun, signedResponse(browser.facts(begun), company.key))).status).toBe(303);
  });

  test("ends the session that the browser had, though its cookie does not come with the answer", async () => {
    const browser = company.browser();
    await browser.signIn();
    const before = browser.jar.cookies.get("rolecall") ?? "";
    const begun = await browser.begin();
    browser.jar.cookies.delete("rolecall");
    await browser.post(begun, signedResponse(browser.facts(begun), company.key));
    expect(browser.jar.cookies.get("rolecall")).not.toBe(before);
    const thief = company.browser();
    thief.jar.cookies.set("rolecall", before);
    expect(await thief.isSignedIn()).toBe(false);
    expect(await browser.isSignedIn()).toBe(true);
  });

  test("in two tabs of one browser: both finish, in either order", async () => {
    const browser = company.browser();
    for (const begun of [await browser.begin(), await browser.begin()].reverse()) {
      expect((await browser.post(begun, signedResponse(browser.facts(begun), company.key))).status).toBe(303);
    }
  });

  test("by the provider's next certificate", async () => {
    const browser = company.browser();
    const begun = await browser.begin();
    expect((await browser.post(begun, signedResponse(browser.facts(begun), nextKey))).status).toBe(303);
  });

  test("with the Assertion's signature alone, where that is set", async () => {
    const browser = company.browser();
    const begun = await browser.begin("loose");
    const xml = signedResponse(browser.facts(begun), company.key, { response: false });
    expect((await browser.post(begun, xml)).status).toBe(303);
  });

  test("is too old for its claims after claimsMaxAge: there is nobody to ask, so the person signs in again", async () => {
    const browser = company.browser();
    await browser.signIn();
    now += 10 * 3_600_000 + 1000;
    const page = await (await browser.jar.get("/")).text();
    expect(page).toContain("too old to rely on");
    await browser.signIn();
    expect(await browser.isSignedIn()).toBe(true);
  });

  test("is denied by the provider: one row, and one sentence", async () => {
    const browser = company.browser();
    const begun = await browser.begin();
    const denied = responseXml(browser.facts(begun))
      .replace(/<saml:Assertion[^]*<\/saml:Assertion>/, "")
      .replace("status:Success", "status:Responder");
    const answer = await browser.post(begun, denied);
    expect(answer.status).toBe(403);
    expect(await reasonOf(answer)).toBe("idp_denied");
    expect((await company.rows()).at(-1)).toMatchObject({ type: "login.denied", reason: "idp_denied" });
  });

  test.each([
    ["without an email", { groups: "x" }, "email_missing"],
    ["of another domain", { email: "jane@evil.example" }, "email_domain"],
    ["whose email the provider denies", { email: "jane@acme.example", email_verified: "false" }, "email_unverified"],
  ])("of a person %s is refused", async (_name, attributes, reason) => {
    expect(await reasonOf(await company.browser().signIn("saml", { attributes }))).toBe(reason);
    expect((await company.rows()).at(-1)).toMatchObject({ type: "login.denied", reason, subject: "jane-1" });
  });
});

describe("an encrypted assertion", () => {
  test.each([
    ["GCM", undefined, "saml", 303],
    ["CBC, under the signature of the Response", CBC, "saml", 303],
    ["GCM, in a Response that is not signed", undefined, "loose", 303],
    ["CBC, in a Response that is not signed", CBC, "loose", 400],
  ] as const)("by %s", async (_name, algorithm, provider, status) => {
    const browser = company.browser();
    const begun = await browser.begin(provider);
    const certificate = (await certificateFor("encryption")).toString();
    const assertionSigned = signXml(responseXml(browser.facts(begun)), "Assertion", company.key);
    const encrypted = await encryptAssertion(assertionSigned, certificate, algorithm);
    const xml = provider === "saml" ? signXml(encrypted, "root", company.key) : encrypted;
    expect((await browser.post(begun, xml)).status).toBe(status);
  });

  test.each([
    ["whose key is encrypted by RSA PKCS #1 v1.5", "saml_malformed"],
    ["that is not signed within", "saml_signature_invalid"],
    ["that is for somebody else's key", "saml_malformed"],
    ["that holds a DOCTYPE", "saml_malformed"],
  ])("%s: %s", async (name, reason) => {
    const browser = company.browser();
    const begun = await browser.begin("loose");
    const plain = responseXml(browser.facts(begun));
    const ours = (await certificateFor("encryption")).toString();
    const certificate = name.includes("somebody else") ? company.key.certificate : ours;
    const signed = name.includes("not signed") ? plain : signXml(plain, "Assertion", company.key);
    const assertion = name.includes("DOCTYPE")
      ? signed.replace("<saml:Conditions", "<!DOCTYPE x><saml:Conditions")
      : signed;
    const keyAlgorithm = name.includes("PKCS") ? "rsa-1_5" : "rsa-oaep-mgf1p";
    const xml = await encryptAssertion(
      assertion,
      certificate,
      undefined,
      `http://www.w3.org/2001/04/xmlenc#${keyAlgorithm}`,
    );
    expect(await reasonOf(await browser.post(begun, xml))).toBe(reason);
    const honest = await encryptAssertion(signedResponse(browser.facts(begun), company.key, { response: false }), ours);
    expect((await browser.post(begun, honest)).status).toBe(303);
  });
});

describe("the same person as by OpenID Connect", () => {
  test("Okta: the attribute that subjectClaim names", async () => {
    const attributes = { sub: "00u1", email: "jane@okta.example", groups: "bedrock-search" };
    await company.browser().signIn("okta", { attributes, nameIdFormat: "urn:x", nameId: "jane" });
    expect((await company.rows()).at(-1)).toMatchObject({
      type: "login.succeeded",
      directory: "okta",
      subject: "00u1",
    });
  });

  const priya = {
    [`${MICROSOFT}tenantid`]: TENANT,
    [`${MICROSOFT}objectidentifier`]: OID,
    [`${WS}emailaddress`]: "priya@entra.example",
    [`${WS}name`]: "priya@entra.example",
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups": ["g1", "g2"],
  };
  const byEntra = { issuer: ENTRA_ISSUER, nameIdFormat: "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress" };

  test("Entra ID: tid and oid", async () => {
    await company.browser().signIn("entra", { ...byEntra, attributes: priya });
    expect((await company.rows()).at(-1)).toMatchObject({
      type: "login.succeeded",
      subject: `${TENANT}/${OID}`,
      claims: { groups: ["g1", "g2"] },
    });
  });

  test.each([
    ["another tenant", { [`${MICROSOFT}tenantid`]: OID }, "tenant_mismatch"],
    ["a guest", { [`${WS}name`]: "p_x.example#EXT#@entra.example" }, "guest_refused"],
    ["another directory's", { [`${MICROSOFT}identityprovider`]: "https://sts.windows.net/other/" }, "guest_refused"],
    [
      "too many groups",
      { "http://schemas.microsoft.com/claims/groups.link": "https://graph.windows.net/x" },
      "groups_overage",
    ],
    ["somebody else with the same email", { [`${MICROSOFT}objectidentifier`]: TENANT }, "email_taken"],
  ])("Entra ID: %s: %s", async (_name, change, reason) => {
    const answer = await company.browser().signIn("entra", { ...byEntra, attributes: { ...priya, ...change } });
    expect(await reasonOf(answer)).toBe(reason);
  });

  test("Auth0: the user ID", async () => {
    const attributes = {
      [`${WS}nameidentifier`]: "auth0|655f1c2d",
      [`${WS}emailaddress`]: "ana@auth0.example",
      "http://schemas.auth0.com/email_verified": "true",
    };
    await company.browser().signIn("auth0", { attributes, nameIdFormat: "urn:x" });
    expect((await company.rows()).at(-1)).toMatchObject({ type: "login.succeeded", subject: "auth0|655f1c2d" });
  });
});

describe("the broker's metadata", () => {
  test("names its addresses, and a certificate for each use", async () => {
    const answer = await company.browser().jar.get("/login/saml/metadata");
    expect(answer.headers.get("content-type")).toMatch("application/samlmetadata+xml");
    const xml = await answer.text();
    for (const part of [
      `entityID="${company.baseUrl}/login/saml/metadata"`,
      `Location="${company.baseUrl}/login/saml/acs"`,
      `Location="${company.baseUrl}/login/saml/slo"`,
      'AuthnRequestsSigned="true"',
      'WantAssertionsSigned="true"',
    ]) {
      expect(xml).toContain(part);
    }
    expect((await certificateFor("signing")).fingerprint256).not.toBe(
      (await certificateFor("encryption")).fingerprint256,
    );
  });

  test("is not there for providers of OpenID Connect, or none", async () => {
    expect((await company.browser().jar.get("/login/nobody/metadata")).status).toBe(404);
  });
});
