import { describe, expect, test } from "vitest";
import { scanXml } from "../../../src/idp/saml/xml-scan.ts";
import { responseXml } from "../../../src/sandbox/saml/response.ts";

const scan = (xml: string): string => scanXml(Buffer.from(xml));

describe("taken", () => {
  test.each([
    ["a declaration", '<?xml version="1.0" encoding="UTF-8"?>\n<r/>'],
    ["both quotes, blanks and an empty element", `<r a="'" b='"' ><x:s xmlns:x = "urn:x"/></r >`],
    ["references to characters", "<r>&amp;&lt;&gt;&quot;&apos;&#13;&#x1F600;</r>"],
    ["letters of any script", "<r>王 ü 😀</r>"],
  ])("%s", (_name, xml) => {
    expect(scan(xml)).toBe(xml);
  });

  test("a thousand groups", () => {
    const groups = Array.from({ length: 1000 }, (_, i) => `bedrock-group-${i}`);
    const facts = { issuer: "i", acs: "a", audience: "a", inResponseTo: "r", nameId: "n", nameIdFormat: "f" };
    const xml = responseXml({ ...facts, attributes: { groups }, sessionIndex: "s", now: Date.now() });
    expect(scan(xml)).toBe(xml);
  });

  test("lines that end as on Windows, as XML has them", () => {
    expect(scan("<r>\r\na\rb\n</r>")).toBe("<r>\na\nb\n</r>");
  });
});

describe("refused, and why", () => {
  test.each([
    ["bytes", `<r>${"x".repeat(170_000)}</r>`, /more than 163840 bytes/],
    ["siblings", `<r>${"<a/>".repeat(30_000)}</r>`, /more than 4000 elements/],
    ["levels", "<a>".repeat(30_000), /more than 24 levels/],
    ["attributes", `<r ${Array.from({ length: 17 }, (_, i) => `a${i}=""`).join(" ")}/>`, /more than 16 attributes/],
    ["an attribute twice", '<r a="" a=""/>', /an attribute twice/],
    ["an attribute without quotes", "<r a=b/>", /a tag that does not end/],
    ["< in an attribute", '<r a="<"/>', /a tag that does not end/],
    ["tags that cross", "<a><b></a></b>", /ends nothing/],
    ["no end", "<a><b></b>", /does not end/],
    ["two roots", "<a/><b/>", /two root elements/],
    ["text before the root", "x<a/>", /outside of its root/],
    ["text behind the root", "<a/>x", /outside of its root/],
    ["nothing", "", /does not end/],
    ["a DOCTYPE", "<!DOCTYPE a><a/>", /DOCTYPE/],
    ["a comment", "<a><!-- --></a>", /comment/],
    ["CDATA", "<a><![CDATA[x]]></a>", /CDATA/],
    ["a processing instruction", "<a><?x?></a>", /processing instruction/],
    ["a declaration that is not first", '<a/><?xml version="1.0"?>', /processing instruction/],
    ["XML 1.1", '<?xml version="1.1"?><a/>', /processing instruction/],
    ["an entity", "<a>&b;</a>", /an entity/],
    ["an entity in an attribute", '<a b="&c;"/>', /an entity/],
    ["& alone", "<a>&</a>", /an entity/],
    ["a NUL by its number", "<a>&#0;</a>", /character that XML has not/],
    ["a surrogate by its number", "<a>&#xD800;</a>", /character that XML has not/],
    ["a bell", "<a>\u0007</a>", /character that XML has not/],
    ["U+FFFE", "<a>\ufffe</a>", /character that XML has not/],
  ])("%s", (_name, xml, message) => {
    expect(() => scan(xml)).toThrow(expect.objectContaining({ code: "saml_malformed" }) as Error);
    expect(() => scan(xml)).toThrow(message);
  });

  test("bytes that are no UTF-8", () => {
    expect(() => scanXml(Buffer.from([0x3c, 0x61, 0xff, 0x2f, 0x3e]))).toThrow(/not UTF-8/);
  });
});
