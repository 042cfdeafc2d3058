/**
 * The AWS config file as text that is changed in one place and kept byte for byte in all others. The text is the
 * file's bytes as latin1, so that nothing is decoded and nothing can be lost. Lines are read as botocore reads them
 * (Python's RawConfigParser, the strictest of the SDKs): a line that is indented deeper than the key above it belongs
 * to that key's value.
 */
interface Line {
  readonly kind: "header" | "key" | "continuation" | "other";
  readonly indent: string;
  /** The section's header text, or the key in lower case. */
  readonly name: string;
  readonly value: string;
  /** Without its end. */
  readonly text: string;
  /** "\n", "\r\n", "\r", or "" for the last line of a file that does not end in one. */
  readonly end: string;
}

/** Bytes of UTF-8 characters look like Latin-1 spaces: only these two count. */
const INDENT = /^[ \t]*/;
const EDGES = /^[ \t]+|[ \t]+$/g;

/**
 * Key (lower case) -> value of one profile; undefined where the file has no such profile. Throws a RangeError where
 * it has several: SDKs don't agree on which of them counts.
 */
export function readProfile(text: string, profile: string): ReadonlyMap<string, string> | undefined {
  const lines = readLines(text);
  const section = findSection(lines, profile);
  if (section === undefined) return undefined;
  const keys = lines.slice(section.first, section.end).filter((line) => line.kind === "key");
  return new Map(keys.map((line) => [line.name, line.value]));
}

/**
 * The text with `set` in that profile and the keys of `remove` taken out of it; all other lines as they were. A key
 * that is there is changed in its place, a new one goes to the top of its section, a new section to the end.
 */
export function editProfile(
  text: string,
  profile: string,
  set: ReadonlyMap<string, string>,
  remove: readonly string[] = [],
): string {
  const lines = readLines(text);
  const section = findSection(lines, profile);
  const newline = lines.find((line) => line.end !== "")?.end ?? "\n";
  if (section === undefined) return `${text}${newSection(lines, newline, profile, set)}`;
  const body = editBody(lines.slice(section.first, section.end), set, remove);
  const missing = [...set].filter(([key]) => !body.some((line) => line.kind === "key" && line.name === key));
  // As deep as what follows: deeper would make that line's header or key a part of ours, or ours a part of it.
  const indent = lines.slice(section.first).find((line) => line.kind !== "other")?.indent ?? "";
  const added = missing.map(([key, value]) => `${indent}${key} = ${value}${newline}`).join("");
  const head = joined(lines.slice(0, section.first));
  const gap = added !== "" && !/[\r\n]$/.test(head) ? newline : "";
  return `${head}${gap}${added}${joined(body)}${joined(lines.slice(section.end))}`;
}

/** True where the credentials file (whose headers are bare names) gives `profile` an access key. */
export function hasAccessKey(text: string, profile: string): boolean {
  let inside = false;
  return readLines(text).some((line) => {
    if (line.kind === "header") inside = line.name === profile || profileOf(line.name) === profile;
    return inside && line.kind === "key" && line.name === "aws_access_key_id";
  });
}

/** A profile's section as people write it. */
export function profileSection(profile: string, set: ReadonlyMap<string, string>, newline = "\n"): string {
  const header = profile === "default" ? "[default]" : `[profile ${profile}]`;
  return [header, ...[...set].map(([key, value]) => `${key} = ${value}`), ""].join(newline);
}

function newSection(
  lines: readonly Line[],
  newline: string,
  profile: string,
  set: ReadonlyMap<string, string>,
): string {
  const last = lines.at(-1);
  if (last === undefined) return profileSection(profile, set, newline);
  const gap = last.end === "" ? newline + newline : last.text.replace(EDGES, "") === "" ? "" : newline;
  return `${gap}${profileSection(profile, set, newline)}`;
}

/** The section's lines with known keys changed or removed, together with what continues their old values. */
function editBody(body: readonly Line[], set: ReadonlyMap<string, string>, remove: readonly string[]): Line[] {
  const done = new Set<string>();
  let dropping = false;
  return body.flatMap((line) => {
    if (line.kind === "continuation") return dropping ? [] : [line];
    if (line.kind !== "key") return [line];
    const value = set.get(line.name);
    dropping = remove.includes(line.name) || (value !== undefined && (done.has(line.name) || value !== line.value));
    if (!dropping) {
      done.add(line.name);
      return [line];
    }
    if (value === undefined || done.has(line.name)) return [];
    done.add(line.name);
    return [{ ...line, value, text: `${line.indent}${line.name} = ${value}` }];
  });
}

function findSection(lines: readonly Line[], profile: string): { first: number; end: number } | undefined {
  const headers = lines.flatMap((line, index) => (line.kind === "header" ? [{ index, name: line.name }] : []));
  const found = headers.filter((header) => profileOf(header.name) === profile);
  const [only] = found;
  if (only === undefined) return undefined;
  if (found.length > 1) throw new RangeError(`${found.length} sections for one profile`);
  const next = headers.find((header) => header.index > only.index);
  return { first: only.index + 1, end: next?.index ?? lines.length };
}

/** `default`, `profile NAME`, `profile "NAME"`: the profile that a section's header names. */
function profileOf(header: string): string | undefined {
  if (header === "default") return header;
  const quoted = /^profile[ \t]+(.*)$/.exec(header)?.[1];
  return quoted?.replace(/^(["'])(.*)\1$/, "$2");
}

function readLines(text: string): Line[] {
  let keyIndent: number | undefined;
  return [...text.matchAll(/([^\r\n]*)(\r\n|\n|\r|$)/g)].flatMap(([whole, content = "", end = ""]) => {
    if (whole === "") return [];
    const line = readLine(content, end, keyIndent);
    if (line.kind === "header") keyIndent = undefined;
    if (line.kind === "key") keyIndent = line.indent.length;
    return [line];
  });
}

function readLine(text: string, end: string, keyIndent: number | undefined): Line {
  const indent = INDENT.exec(text)?.[0] ?? "";
  const content = text.replace(EDGES, "");
  const base = { indent, text, end, name: "", value: "" };
  if (content === "" || content.startsWith("#") || content.startsWith(";")) return { ...base, kind: "other" };
  if (keyIndent !== undefined && indent.length > keyIndent) return { ...base, kind: "continuation" };
  const header = /^\[(.+)\]/.exec(content)?.[1];
  if (header !== undefined) return { ...base, kind: "header", name: header.replace(EDGES, "") };
  const [, name, value] = /^([^=:]*)[=:](.*)$/.exec(content) ?? [];
  if (name === undefined || value === undefined) return { ...base, kind: "other" };
  return { ...base, kind: "key", name: name.replace(EDGES, "").toLowerCase(), value: value.replace(EDGES, "") };
}

function joined(lines: readonly Line[]): string {
  return lines.map((line) => line.text + line.end).join("");
}
