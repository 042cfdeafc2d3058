import { LineCounter, parseDocument, visit, type Document, type YAMLError } from "yaml";
import type { ConfigFault } from "./config-error.ts";

/**
 * Sentences of our own, because the library's quote the file, and somebody may have written a secret into it. What
 * has no entry is said by its line alone.
 */
const SENTENCES: Partial<Record<YAMLError["code"], string>> = {
  BAD_INDENT: "the indentation does not fit the lines around it",
  TAB_AS_INDENT: "indent with spaces, not with tabs",
  DUPLICATE_KEY: "this key stands here a second time",
  MISSING_CHAR: "a closing quote, bracket or comma, or a space after a colon, is missing",
  MULTIPLE_DOCS: "the file must hold one YAML document, not several",
  NON_STRING_KEY: "a key must be plain text",
  TAG_RESOLVE_FAILED: "YAML tags (!name) have no meaning here",
};

/** Aliases are for sharing a list between rules; more expansions than this are a bomb. */
const MAX_ALIASES = 100;

/**
 * The document as plain data, or its faults by line: syntax, duplicate keys, unknown YAML tags, too many aliases.
 * Keys are text as written (`007` stays `007`).
 */
export function readDocument(text: string): { value: unknown } | { faults: ConfigFault[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    stringKeys: true,
  });
  const faults = [...syntaxFaults(document), ...nodeFaults(document)];
  if (faults.length > 0) {
    const message = ({ offset, sentence }: Place): string => `line ${lines.linePos(offset).line}: ${sentence}`;
    return { faults: faults.map((fault) => ({ path: "", message: message(fault) })) };
  }
  try {
    const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
    if (value === null) return { faults: [{ path: "", message: "is empty: begin with a file of examples/" }] };
    const reserved = pathOfProto(value, "");
    if (reserved === undefined) return { value };
    return { faults: [{ path: reserved, message: "__proto__ is not a name that can be used" }] };
  } catch {
    return { faults: [{ path: "", message: `aliases (*name) may stand for ${MAX_ALIASES} values at most` }] };
  }
}

interface Place {
  readonly offset: number;
  readonly sentence: string;
}

function syntaxFaults({ errors, warnings }: Document.Parsed): Place[] {
  return [...errors, ...warnings].map(({ code, pos }) => ({
    offset: pos[0],
    sentence: SENTENCES[code] ?? "this is not YAML",
  }));
}

/** What the library takes and this file doesn't: tags that it knows (!!binary, !!set), aliases of nothing. */
function nodeFaults(document: Document.Parsed): Place[] {
  const faults: Place[] = [];
  const add = (sentence: string, offset = 0): void => void faults.push({ offset, sentence });
  visit(document, {
    Alias: (_, node) => {
      if (!node.resolve(document)) add("an alias (*name) needs its anchor (&name) further up", node.range?.[0]);
    },
    Value: (_, node) => {
      if (node.tag !== undefined) add("YAML tags (!name) have no meaning here", node.range?.[0]);
    },
  });
  return faults;
}

/** Where a key is named `__proto__`, which the schema's library would pass over without a word. */
function pathOfProto(value: unknown, path: string): string | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  if (Object.hasOwn(value, "__proto__")) return path;
  for (const [key, child] of Object.entries(value)) {
    const found = pathOfProto(child, Array.isArray(value) ? `${path}[${key}]` : path === "" ? key : `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}
