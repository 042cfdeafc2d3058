import { refuse } from "../claim-rules.ts";

/** What a document may have at most; more is refused before any parser or signature is tried on it. */
export interface XmlBounds {
  readonly bytes: number;
  readonly elements: number;
  readonly depth: number;
  readonly attributes: number;
  /** Nobody signs comments, and text around one is read differently by different parsers. */
  readonly comments: "refused" | "skipped";
}

/** Two signatures, two certificates and a thousand groups fit; nothing that takes a parser long does. */
export const MESSAGE_BOUNDS: XmlBounds = {
  bytes: 160 * 1024,
  elements: 4_000,
  depth: 24,
  attributes: 16,
  comments: "refused",
};

/** Name characters of ASCII, with one colon at most: what SAML, XML Signature and XML Encryption are made of. */
const NAME = /[A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?/y;
const ATTRIBUTE = /[ \t\r\n]+([A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?)[ \t\r\n]*=[ \t\r\n]*(?:"([^"<]*)"|'([^'<]*)')/y;
const START_TAG_END = /[ \t\r\n]*(\/?)>/y;
const END_TAG_END = /[ \t\r\n]*>/y;
const DECLARATION = /<\?xml version=["']1\.0["'](?: encoding=["']utf-8["'])?(?: standalone=["'](?:yes|no)["'])? ?\?>/iy;
/** XML 1.0, 2.2: what no document may hold, not even by its number. */
const NO_CHARACTER = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/u;
const REFERENCE = /&(?:(?:amp|lt|gt|quot|apos)|#(?:([0-9]{1,7})|x([0-9a-fA-F]{1,6})));|&/g;

/**
 * The text of `bytes`, once one linear look has shown it to be a small and plain XML document: UTF-8, tags that match,
 * attributes named once, and none of what XML has beyond elements, attributes and text (DOCTYPE, entities, processing
 * instructions, CDATA). Throws `saml_malformed`. Whoever reads the text afterwards, however slow on bad input, is not given any.
 */
export function scanXml(bytes: Uint8Array, bounds: XmlBounds = MESSAGE_BOUNDS): string {
  if (bytes.byteLength > bounds.bytes) malformed(`is more than ${bounds.bytes} bytes`);
  const text = decodeUtf8(bytes);
  if (NO_CHARACTER.test(text)) malformed("holds a character that XML has not");
  new Scan(text, bounds).run();
  // XML 1.0, 2.11: signatures are over lines that end so, and not every reader sees to it.
  return text.replaceAll(/\r\n?/g, "\n");
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return malformed("is not UTF-8");
  }
}

class Scan {
  readonly #text: string;
  readonly #bounds: XmlBounds;
  readonly #open: string[] = [];
  #at = 0;
  #elements = 0;

  constructor(text: string, bounds: XmlBounds) {
    this.#text = text;
    this.#bounds = bounds;
  }

  run(): void {
    this.#match(DECLARATION);
    for (;;) {
      const tag = this.#text.indexOf("<", this.#at);
      this.#between(this.#text.slice(this.#at, tag < 0 ? undefined : tag));
      if (tag < 0) break;
      this.#at = tag + 1;
      const next = this.#text[this.#at];
      if (next === "/") this.#endTag();
      else if (next === "!" && this.#bounds.comments === "skipped") this.#comment();
      else if (next === "!" || next === "?") malformed("has a DOCTYPE, a comment, CDATA or a processing instruction");
      else this.#startTag();
    }
    if (this.#elements === 0 || this.#open.length > 0) malformed("has an element that does not end");
  }

  #between(text: string): void {
    if (this.#open.length === 0 && /[^ \t\r\n]/.test(text)) malformed("has text outside of its root element");
    checkReferences(text);
  }

  #startTag(): void {
    const { elements, depth, attributes } = this.#bounds;
    const [name] = this.#match(NAME) ?? malformed("has a tag without a name");
    if (this.#open.length === 0 && this.#elements > 0) malformed("has two root elements");
    if ((this.#elements += 1) > elements) malformed(`has more than ${elements} elements`);
    const seen = new Set<string>();
    for (let found = this.#match(ATTRIBUTE); found; found = this.#match(ATTRIBUTE)) {
      const [, attribute = "", double, single = double ?? ""] = found;
      if (seen.has(attribute)) malformed("has an attribute twice in one element");
      if (seen.add(attribute).size > attributes) malformed(`has more than ${attributes} attributes in one element`);
      checkReferences(single);
    }
    const [, empty] = this.#match(START_TAG_END) ?? malformed("has a tag that does not end");
    if (empty !== "") return;
    if (this.#open.push(name) > depth) malformed(`is nested more than ${depth} levels deep`);
  }

  #endTag(): void {
    this.#at += 1;
    const [name] = this.#match(NAME) ?? malformed("has a tag without a name");
    if (this.#open.pop() !== name || !this.#match(END_TAG_END)) malformed("has an end tag that ends nothing");
  }

  #comment(): void {
    const end = this.#text.startsWith("!--", this.#at) ? this.#text.indexOf("-->", this.#at + 3) : -1;
    if (end < 0) malformed("has a DOCTYPE, CDATA or a comment without an end");
    this.#at = end + 3;
  }

  /** What the (sticky) pattern finds right here, which is then read. */
  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text) ?? undefined;
    if (found) this.#at = pattern.lastIndex;
    return found;
  }
}

/** The five of XML itself, and characters by their numbers: there is no DOCTYPE that could define others. */
function checkReferences(text: string): void {
  if (!text.includes("&")) return;
  for (const [reference, decimal, hexadecimal] of text.matchAll(REFERENCE)) {
    if (reference === "&") malformed("has an entity");
    const number = decimal !== undefined ? Number(decimal) : hexadecimal !== undefined ? parseInt(hexadecimal, 16) : 32;
    if (number > 0x10ffff || NO_CHARACTER.test(String.fromCodePoint(number)))
      malformed("has a character that XML has not");
  }
}

function malformed(what: string): never {
  return refuse("saml_malformed", `the XML document ${what}`);
}
