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
  return value.replace(/[&<>"\t\n\r]/g, (char) => ESCAPES[char] ?? `&#${char.charCodeAt(0)};`);
}
