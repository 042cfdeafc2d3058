import { DOMParser, type Element } from "@xmldom/xmldom";
import { refuse } from "../claim-rules.ts";
import { scanXml, type XmlBounds } from "./xml-scan.ts";

export const SAML = "urn:oasis:names:tc:SAML:2.0:assertion";
export const SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol";
export const MD = "urn:oasis:names:tc:SAML:2.0:metadata";
export const DS = "http://www.w3.org/2000/09/xmldsig#";
export const XENC = "http://www.w3.org/2001/04/xmlenc#";

/** One element of a document, with names in their namespaces; what it holds can't change any more. */
export interface XmlElement {
  readonly namespace: string;
  readonly name: string;
  /** Without a namespace, as all of SAML's and XML Signature's are; the others are left out. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** All text directly in it; "" where there is none. */
  readonly text: string;
}

/** A document read whole. Throws `saml_malformed` for anything but small and plain XML, as {@link scanXml} does. */
export function readXml(bytes: Uint8Array, bounds?: XmlBounds): { text: string; root: XmlElement } {
  const text = scanXml(bytes, bounds);
  return { text, root: elementOf(parseXml(text)) };
}

/** The root element of a text that was scanned before, as the signature libraries see it: with their own parser. */
export function parseXml(text: string): Element {
  let fault: string | undefined;
  const note = (message: unknown): void => {
    fault ??= String(message);
  };
  const parser = new DOMParser({ errorHandler: { warning: note, error: note, fatalError: note } });
  const root = parser.parseFromString(text, "text/xml").documentElement;
  if (!root || fault !== undefined) return refuse("saml_malformed", "the XML document can't be parsed");
  return root;
}

/** The parsed element with all that is in it. */
export function elementOf(node: Element): XmlElement {
  const children: XmlElement[] = [];
  let text = "";
  for (let child = node.firstChild; child; child = child.nextSibling) {
    // ELEMENT_NODE, TEXT_NODE; the scan has let no others through but comments, where they are skipped.
    if (child.nodeType === 1) children.push(elementOf(child as Element));
    else if (child.nodeType === 3) text += child.nodeValue ?? "";
  }
  const attributes = new Map<string, string>();
  for (let i = 0; i < node.attributes.length; i += 1) {
    const attribute = node.attributes.item(i);
    if (attribute && !attribute.name.includes(":")) attributes.set(attribute.name, attribute.value);
  }
  return { namespace: node.namespaceURI ?? "", name: node.localName, attributes, children, text };
}

/** Its children of that name and namespace. */
export function childrenOf(element: XmlElement | undefined, namespace: string, name: string): XmlElement[] {
  return element?.children.filter((child) => child.name === name && child.namespace === namespace) ?? [];
}

/** Its one child of that name; undefined where there is none, or more than one. */
export function childOf(element: XmlElement | undefined, namespace: string, name: string): XmlElement | undefined {
  const [child, ...more] = childrenOf(element, namespace, name);
  return more.length === 0 ? child : undefined;
}

/** The element and everything below it. */
export function* everyElement(element: XmlElement): Generator<XmlElement> {
  yield element;
  for (const child of element.children) yield* everyElement(child);
}

/** The children of a parsed element by namespace and name, as the signature libraries take them. */
export function elementsOf(parent: Element, namespace: string, name: string): Element[] {
  const found: Element[] = [];
  for (let child = parent.firstChild; child; child = child.nextSibling) {
    if (child.nodeType !== 1) continue;
    const element = child as Element;
    if (element.localName === name && element.namespaceURI === namespace) found.push(element);
  }
  return found;
}
