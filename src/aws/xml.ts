/** XML that was built here, and so holds nothing but what it was given. */
export interface Xml {
  readonly xml: string;
}

/**
 * One element, its name and attributes' names as they stand; values and texts are escaped, so that a reader gets back
 * exactly them. Throws an Error for a character that XML can't hold (XML 1.0, 2.2), and never drops one.
 */
export function element(
  name: string,
  attributes: Readonly<Record<string, string>>,
  ...content: readonly (Xml | string)[]
): Xml {
  const all = Object.entries(attributes).map(([key, value]) => ` ${key}="${escaped(value)}"`);
  const inner = content.map((part) => (typeof part === "string" ? escaped(part) : part.xml)).join("");
  const opening = `<${name}${all.join("")}`;
  return { xml: inner === "" ? `${opening}/>` : `${opening}>${inner}</${name}>` };
}

/** XML 1.0, 2.2: Char. */
const FIT = /^[\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]*$/u;

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Tab and line ends too: a reader makes spaces of them in attributes, and of CR LF one line feed (XML 1.0, 2.11, 3.3.3). */
function escaped(value: string): string {
  if (!FIT.test(value)) throw new Error("XML can't hold a character of the text");
  return lineEndsEscaped(value.replace(/[&<>"\t\n\r]/g, (char) => ESCAPES[char] ?? reference(char)));
}

/**
 * The same document without U+0085 and U+2028 as they are: XML 1.0 has them as any other character, but xmldom, as XML 1.1
 * does, reads a line feed.
 */
export function lineEndsEscaped(xml: string): string {
  return xml.replace(/[\u0085\u2028]/g, reference);
}

function reference(char: string): string {
  return `&#${char.charCodeAt(0)};`;
}
