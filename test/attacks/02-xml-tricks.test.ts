import { createHmac, createPublicKey } from "node:crypto";
import { afterAll, beforeAll, test } from "vitest";
import type { ReasonCode } from "../../src/flow/errors.ts";
import { newSamlIdpKey, type SamlIdpKey } from "../../src/sandbox/saml/key.ts";
import { responseXml } from "../../src/sandbox/saml/response.ts";
import { signedResponse, signXml, type SignatureAlgorithms } from "../../src/sandbox/saml/sign.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { Siege } from "../support/saml-attack.ts";
import { startSamlCompany, type SamlCompany } from "../support/saml-company.ts";

/** threats.md 2: what XML can do that nobody needs, and signatures that are none. */

let redis: TestRedis;
let company: SamlCompany;
let siege: Siege;
let stranger: SamlIdpKey;
beforeAll(async () => {
  redis = await startRedis();
  stranger = await newSamlIdpKey();
  company = await startSamlCompany({
    redisUrl: redis.url,
    providers: [{ id: "loose", wantResponseSigned: false }],
  });
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

type Forge = (xml: string) => string;

/** After signing: canonicalization drops some of it, so that the signatures still hold. */
const AFTER: readonly [name: string, reason: ReasonCode, forge: Forge][] = [
  ["a comment in the NameID", "saml_malformed", (xml) => xml.replace(">jane-1<", ">jane<!-- -->-1<")],
  ["a comment in the email", "saml_malformed", (xml) => xml.replace("jane@acme", "ja<!--x-->ne@acme")],
  ["a comment before the root", "saml_malformed", (xml) => `<!-- x -->${xml}`],
  ["a processing instruction in the NameID", "saml_malformed", (xml) => xml.replace(">jane-1<", ">jane<?x y?>-1<")],
  ["a processing instruction at the end", "saml_malformed", (xml) => `${xml}<?x y?>`],
  ["CDATA", "saml_malformed", (xml) => xml.replace(">jane-1<", "><![CDATA[jane-1]]><")],
  ["a DOCTYPE", "saml_malformed", (xml) => `<!DOCTYPE samlp:Response>${xml}`],
  ["an entity", "saml_malformed", (xml) => `<!DOCTYPE r [<!ENTITY e "ceo">]>${xml.replace(">jane-1<", ">&e;-1<")}`],
  ["an entity that nobody defines", "saml_malformed", (xml) => xml.replace(">jane-1<", ">&jane;-1<")],
  ["an external entity", "saml_malformed", (xml) => `<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]>${xml}`],
  [
    "ten entities of ten entities",
    "saml_malformed",
    (xml) => `<!DOCTYPE r [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>${xml}`,
  ],
  ["UTF-16", "saml_malformed", (xml) => Buffer.from(`\ufeff${xml}`, "utf16le").toString("latin1")],
  ["another encoding", "saml_malformed", (xml) => `<?xml version="1.0" encoding="ISO-8859-1"?>${xml}`],
  ["a NUL by its number", "saml_malformed", (xml) => xml.replace(">jane-1<", ">jane-1&#0;<")],
  [
    "an Assertion of another namespace",
    "saml_malformed",
    (xml) => xml.replace("</samlp:Status>", '</samlp:Status><x:Assertion xmlns:x="urn:x" ID="_x"/>'),
  ],
  [
    "a Subject of another namespace, first",
    "saml_malformed",
    (xml) =>
      xml.replace("<saml:Subject>", '<x:Subject xmlns:x="urn:x"><x:NameID>ceo</x:NameID></x:Subject><saml:Subject>'),
  ],
  [
    "a second Assertion before the signed one",
    "saml_malformed",
    (xml) => {
      const assertion = /<saml:Assertion[^]*<\/saml:Assertion>/.exec(xml)?.[0] ?? "";
      return xml.replace(assertion, assertion.replaceAll("jane", "ceo").replaceAll(' ID="_', ' ID="_x') + assertion);
    },
  ],
  [
    "two SignedInfo",
    "saml_malformed",
    (xml) => xml.replace(/<ds:SignedInfo>[^]*?<\/ds:SignedInfo>/, (info) => info + info),
  ],
  ["one ID twice", "saml_malformed", (xml) => xml.replace("<ds:KeyInfo>", '<ds:KeyInfo Id="_x"><x Id="_x"/>')],
  ["a changed email", "saml_signature_invalid", (xml) => xml.replace("jane@acme.example", "ceo@acme.example")],
  ["a changed Destination", "saml_signature_invalid", (xml) => xml.replace('Destination="', 'Destination=" ')],
  [
    "no signature of the Assertion",
    "saml_signature_invalid",
    (xml) => xml.replace(/(?<=<saml:Assertion[^]*)<ds:Signature [^]*?<\/ds:Signature>/, ""),
  ],
  [
    "no signature at all",
    "saml_signature_invalid",
    (xml) => xml.replaceAll(/<ds:Signature [^]*?<\/ds:Signature>/g, ""),
  ],
  ["a signature of nothing", "saml_signature_invalid", (xml) => xml.replaceAll(/ URI="#[^"]*"/g, ' URI=""')],
  [
    "canonicalization with comments",
    "saml_signature_invalid",
    (xml) => xml.replaceAll("xml-exc-c14n#", "xml-exc-c14n#WithComments"),
  ],
  ["HMAC by the public certificate", "saml_signature_invalid", hmacSigned],
];

/** As a careless verifier would check it: the key is text that everybody has. */
function hmacSigned(xml: string): string {
  const pem = String(createPublicKey(company.key.certificate).export({ type: "spki", format: "pem" }));
  const forged = xml
    .replaceAll("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2000/09/xmldsig#hmac-sha1")
    .replaceAll("jane", "ceo");
  return forged.replaceAll(
    /(<ds:SignatureValue>)[^<]*/g,
    (_, tag: string) => tag + createHmac("sha1", pem).update("x").digest("base64"),
  );
}

test.each(AFTER)("%s: %s", async (_name, reason, forge) => {
  await siege.expectRefused({ reason, forge: (facts) => forge(signedResponse(facts, company.key)) });
});

test("no signature of the Response, at a provider that signs both", async () => {
  await siege.expectRefused({
    reason: "saml_signature_invalid",
    forge: (facts) => signedResponse(facts, company.key, { response: false }),
  });
});

test("a signature of the Response that does not hold, where none is asked for", async () => {
  await siege.expectRefused({
    provider: "loose",
    reason: "saml_signature_invalid",
    forge: (facts) =>
      signedResponse(facts, company.key)
        .replace("<samlp:Status>", "<samlp:Status >")
        .replace('Destination="', 'Consent="x" Destination="'),
  });
});

test("a changed email, where the Assertion alone is signed", async () => {
  await siege.expectRefused({
    provider: "loose",
    reason: "saml_signature_invalid",
    forge: (facts) => signedResponse(facts, company.key, { response: false }).replace("jane@acme", "ceo@acme"),
  });
});

test("an Assertion that a stranger signed, in a Response that the provider signed", async () => {
  await siege.expectRefused({
    reason: "saml_signature_invalid",
    forge: (facts) => signXml(signXml(responseXml(facts), "Assertion", stranger), "root", company.key),
  });
});

test("a stranger's signatures, with the stranger's certificate beside them", async () => {
  await siege.expectRefused({
    reason: "saml_signature_invalid",
    forge: (facts) => signedResponse({ ...facts, nameId: "ceo-1" }, stranger),
  });
});

const SHA1: SignatureAlgorithms = {
  signature: "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
  digest: "http://www.w3.org/2000/09/xmldsig#sha1",
};

test("SHA-1, by the provider's own key", async () => {
  await siege.expectRefused({
    reason: "saml_signature_invalid",
    forge: (facts) => signXml(signXml(responseXml(facts), "Assertion", company.key, SHA1), "root", company.key, SHA1),
  });
});
