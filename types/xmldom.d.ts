/**
 * As much of @xmldom/xmldom as the broker uses. Its own types bring a browser's into every file (`lib="dom"`), where they
 * contradict Node's: tsconfig.json puts these in their place.
 */

export interface Node {
  readonly nodeType: number;
  readonly nodeValue: string | null;
  readonly firstChild: Node | null;
  readonly nextSibling: Node | null;
  toString(): string;
}

export interface Element extends Node {
  readonly textContent: string | null;
  /** "" where there is none. */
  getAttribute(name: string): string;
  readonly localName: string;
  readonly namespaceURI: string | null | undefined;
  readonly attributes: {
    readonly length: number;
    item(index: number): { readonly name: string; readonly value: string } | null;
  };
}

export interface Document extends Node {
  readonly documentElement: Element | null | undefined;
}

type Handler = (message: unknown) => void;

export class DOMParser {
  constructor(options?: { errorHandler?: { warning: Handler; error: Handler; fatalError: Handler } });
  parseFromString(xml: string, mimeType: "text/xml"): Document;
}
