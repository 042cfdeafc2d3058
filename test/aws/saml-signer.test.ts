import { createHash, X509Certificate } from "node:crypto";
import { readXml, childrenOf, everyElement, SAML } from "../../src/idp/saml/xml.ts";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { samlMetadata } from "../../src/aws/saml-metadata.ts";
import { samlAudience } from "../../src/aws/saml-response.ts";
import { Refusal } from "../../src/flow/errors.ts";
import type { FederationClaims, SignFederationToken } from "../../src/flow/federation-token.ts";
import { JANE, ROLE_ARN, TAGS } from "../support/federation.ts";
import {
  ASSERTION_ID,
  newSamlSigningKey,
  SAML_AUDIENCE,
  SAML_ISSUER,
  SAML_PROVIDER,
  samlClaims,
  signSaml,
  xmlOf,
} from "../support/saml-federation.ts";
import { certificatesOf, schemaFault, xmlsecVerifies } from "../support/xml-tools.ts";

const [key, other] = await Promise.all([newSamlSigningKey(), newSamlSigningKey()]);
const sign = signSaml(key);
const ATTRIBUTES = "https://aws.amazon.com/SAML/Attributes/";
const TAGS_CLAIM = "https://aws.amazon.com/tags";

/** Its attributes without AWS's prefix, read by the code that reads what identity providers send. */
function attributesOf(xml: string): [string, string[]][] {
  const all = [...everyElement(readXml(Buffer.from(xml)).root)];
  return all
    .filter(({ name }) => name === "Attribute")
    .map((attribute) => [
      attribute.attributes.get("Name")?.replace(ATTRIBUTES, "") ?? "",
      childrenOf(attribute, SAML, "AttributeValue").map(({ text }) => text),
    ]);
}

const assertionFrom = async (claims: FederationClaims): Promise<string> => xmlOf((await sign(claims, 3600)).text);

describe("an assertion for AWS", () => {
  test("is one that xmlsec1 verifies by the metadata's certificate, and that OASIS's schema takes", async () => {
    const signed = await sign(samlClaims(), 3600);
    const xml = xmlOf(signed.text);
    const [active = "", next = ""] = certificatesOf(samlMetadata(SAML_ISSUER, [key.certificate, other.certificate]));
    expect(xmlsecVerifies(xml, active)).toBe(true);
    expect(xmlsecVerifies(xml, next)).toBe(false);
    expect(xmlsecVerifies(xml.replace(">search<", ">ml-platform<"), active)).toBe(false);
    expect(schemaFault(xml, "protocol")).toBeUndefined();
    expect(signed.keyId).toBe(key.keyId);
    expect(signed.sha256).toBe(createHash("sha256").update(signed.text).digest("hex"));
  });

  test("says what AWS reads", async () => {
    const claims = samlClaims({ now: Date.parse("2026-11-22T20:00:00.700Z") });
    const xml = await assertionFrom(claims);
    expect(attributesOf(xml)).toEqual([
      ["Role", [`${ROLE_ARN},${SAML_PROVIDER}`]],
      ["RoleSessionName", [JANE]],
      ["SessionDuration", ["3600"]],
      ["SourceIdentity", [JANE]],
      ["PrincipalTag:team", [TAGS.team]],
      ["PrincipalTag:cost-centre", [TAGS["cost-centre"]]],
      ["TransitiveTagKeys", ["team"]],
    ]);
    expect(xml).toContain(`<saml:Assertion xmlns:saml="${SAML}" ID="${ASSERTION_ID}" Version="2.0"`);
    expect(xml).toContain(`nameid-format:persistent">${JANE}</saml:NameID>`);
    expect(xml).toContain(`NotOnOrAfter="2026-11-22T20:05:00.000Z" Recipient="${SAML_AUDIENCE}"`);
    expect(xml).toContain(`<saml:Audience>${SAML_AUDIENCE}</saml:Audience>`);
    expect(xml).toContain(`<saml:AuthnStatement AuthnInstant="2026-11-22T20:00:00.000Z"`);
  });

  test("without a transitive tag has no attribute for them", async () => {
    const names = attributesOf(await assertionFrom(samlClaims({ transitiveTags: [] }))).map(([name]) => name);
    expect(names).not.toContain("TransitiveTagKeys");
  });

  test("whatever the tags and the name hold, a reader gets exactly that", async () => {
    const character = fc.constantFrom(...Array.from("azÄß9字Ωя𐐷 \u00a0\u2003\u2028.:/=+-@_"));
    const word = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 });
    const text = fc.oneof(
      fc.array(character, { minLength: 1, maxLength: 20 }).map((all) => all.join("")),
      word,
    );
    const takenByAws = text.filter((it) => /^[\p{L}\p{Z}\p{N}_.:/=+\-@]+$/u.test(it) && it === it.trim());
    const tags = fc.dictionary(takenByAws, takenByAws, { minKeys: 1, maxKeys: 5, noNullPrototype: true });
    const name = fc.stringMatching(/^[\w+=,.@-]{2,64}$/);
    let tried = 0;
    await fc.assert(
      fc.asyncProperty(tags, name, async (principalTags, sessionName) => {
        const keys = Object.keys(principalTags);
        if (keys.some((it) => it.toLowerCase().startsWith("aws:"))) return;
        const xml = await assertionFrom(samlClaims({ tags: principalTags, sessionName, transitiveTags: keys }));
        const read = Object.fromEntries(attributesOf(xml));
        expect(read["RoleSessionName"]).toEqual([sessionName]);
        for (const it of keys) expect(read[`PrincipalTag:${it}`]).toEqual([principalTags[it]]);
        expect(read["TransitiveTagKeys"]).toEqual(keys);
        expect(tried > 5 || xmlsecVerifies(xml, key.certificate)).toBe(true);
        tried += 1;
      }),
      { numRuns: 60, examples: [[{ team: "a\u2028b" }, JANE]] },
    );
    expect(tried).toBeGreaterThan(30);
  });
});

describe("is checked before anybody sends it, and the fault is named", () => {
  const good = samlClaims();
  const withTags = (principal: object): object => ({
    [TAGS_CLAIM]: { principal_tags: principal, transitive_tag_keys: [] },
  });

  async function faultOf(claims: object, by: SignFederationToken = sign): Promise<string> {
    const error: unknown = await by(claims as FederationClaims, 3600).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Refusal);
    expect((error as Refusal).code).toBe("federation_token_invalid");
    expect((error as Refusal).message).not.toMatch(/jane|search/);
    return (error as Refusal).message;
  }

  test.each<[string, object, RegExp]>([
    ["a subject with a space", { sub: "jane doe" }, /sub/],
    ["a subject that is not the source identity", { sub: "eve@acme.example" }, /source identity/],
    ["two roles", { "https://aws.amazon.com/roles": [ROLE_ARN, `${ROLE_ARN}2`] }, /roles/],
    ["a life of an hour", { exp: good.iat + 3600 }, /lives longer/],
    ["an ID that begins with a digit", { jti: "5c1d6f5e" }, /ID/],
    ["an ID that ends its attribute", { jti: '_a" b="' }, /ID/],
    ["a tag that is markup", withTags({ team: ["<b>"] }), /tags/],
    ["a comma in a tag", withTags({ team: ["a,b"] }), /tags/],
    ["a tag with two values", withTags({ team: ["search", "x"] }), /tags/],
    ["an issuer with a control character", { iss: "https://a.example/\u0001" }, /XML can't hold/],
    ["too long", { iss: `https://a.example/${"x".repeat(40_000)}` }, /longer than 100000/],
  ])("%s", async (_name, change, message) => {
    expect(await faultOf({ ...good, ...change })).toMatch(message);
  });

  test("a key that is not the certificate's", async () => {
    expect(await faultOf(good, signSaml({ ...key, privateKey: other.privateKey }))).toMatch(/fails its own check/);
  });
});

describe("the metadata to upload", () => {
  test.each([
    ["one key", [key.certificate]],
    ["two, while one takes over", [key.certificate, other.certificate]],
  ])("with %s is valid by OASIS's schema", (_name, certificates) => {
    const metadata = samlMetadata(SAML_ISSUER, certificates);
    expect(schemaFault(metadata, "metadata")).toBeUndefined();
    expect(certificatesOf(metadata)).toEqual(certificates);
    expect(metadata).toContain(`entityID="${SAML_ISSUER}"`);
    // IAM takes 1,000 characters at least.
    expect(metadata.length).toBeGreaterThan(1000);
  });

  test("the schema is asked indeed", () => {
    expect(schemaFault(samlMetadata(SAML_ISSUER, []).replace("entityID", "id"), "metadata")).toMatch(/entityID/);
  });

  test("has the certificate of an RSA key of 2048 bits", () => {
    const { publicKey } = new X509Certificate(Buffer.from(key.certificate, "base64"));
    expect([publicKey.asymmetricKeyType, publicKey.asymmetricKeyDetails?.modulusLength]).toEqual(["rsa", 2048]);
  });
});

test.each([
  ["us-east-1", "https://signin.aws.amazon.com/saml"],
  ["us-gov-west-1", "https://signin.amazonaws-us-gov.com/saml"],
  ["cn-north-1", "https://signin.amazonaws.cn/saml"],
])("in %s the recipient is %s", (region, address) => {
  expect(samlAudience(region)).toBe(address);
});
