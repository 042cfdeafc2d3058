import { DOMParser } from "@xmldom/xmldom";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { element } from "../../src/aws/xml.ts";

const NASTY = ["<", "&", '"', "'", "]]>", "<!--", "&amp;", "\r\n", "\t", " ", "\u0085", "\u2028", "😀", "<?x?>", "%s"];

describe("one element", () => {
  test("whatever it holds, a reader gets exactly that, and no element more", () => {
    const text = fc
      .array(fc.oneof(fc.constantFrom(...NASTY), fc.string({ unit: "binary", maxLength: 5 })), { maxLength: 8 })
      .map((parts) => parts.join(""))
      .filter((it) => /^[\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]*$/u.test(it));
    fc.assert(
      fc.property(text, text, (attribute, content) => {
        const { xml } = element("a", { b: attribute }, element("c", {}, content));
        const root = new DOMParser().parseFromString(xml, "text/xml").documentElement;
        expect(root?.getAttribute("b")).toBe(attribute);
        expect(root?.textContent).toBe(content);
        expect(root?.attributes).toHaveLength(1);
      }),
      { numRuns: 500 },
    );
  });

  test.each(["\0", "\u0008", "\u001f", "\ufffe", "\uffff", "\ud800", "a\udc00"])("%j can't stand in XML", (text) => {
    expect(() => element("a", {}, text)).toThrow("XML can't hold");
    expect(() => element("a", { b: text })).toThrow("XML can't hold");
  });
});
