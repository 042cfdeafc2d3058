import { z } from "zod";
import { pathText, type ConfigFault } from "./config-error.ts";
import { configSchema, type ConfigFile } from "./schema.ts";

type Provider = ConfigFile["providers"][number];
type TagRule = ConfigFile["tags"][string];

/**
 * As much of the file as has the right shape, so that the rules that span fields can name their faults beside those
 * of the shape. `undefined` marks what could not be read.
 */
export type Readable = {
  readonly [K in Exclude<keyof ConfigFile, "providers" | "tags">]?: ConfigFile[K] | undefined;
} & {
  readonly providers: readonly (Provider | undefined)[];
  readonly tags: Readonly<Record<string, TagRule | undefined>>;
};

/**
 * Checks `value` against the schema: every fault of shape, and all that could be read in spite of them. `file` is the
 * whole of it, where there was no fault.
 */
export function readShape(value: unknown): { faults: ConfigFault[]; readable: Readable; file: ConfigFile | undefined } {
  const result = configSchema.safeParse(value, { error: sentence });
  const faults = result.error?.issues.flatMap(faultsOf) ?? [];
  return { faults, readable: result.data ?? readParts(value), file: result.data };
}

function readParts(value: unknown): Readable {
  const file = isObject(value) ? value : {};
  const { providers, tags, ...shape } = configSchema.shape;
  const read = <T extends z.ZodType>(schema: T, part: unknown): z.infer<T> | undefined => schema.safeParse(part).data;
  const sections = Object.entries(shape).map(([name, schema]) => [name, read(schema as z.ZodType, file[name])]);
  const providerList = Array.isArray(file["providers"]) ? file["providers"] : [undefined];
  const tagList = isObject(file["tags"]) ? Object.entries(file["tags"]) : [];
  return {
    ...(Object.fromEntries(sections) as Omit<Readable, "providers" | "tags">),
    providers: providerList.map((part) => read(providers.element, part)),
    tags: Object.fromEntries(tagList.map(([key, part]) => [key, read(tags.valueType, part)])),
  };
}

const KINDS: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a group of fields",
  record: "a table of keys and values",
};

/** What would be right, for the faults that the schema has no sentence of its own for. Never the value itself. */
function sentence(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type": {
      if (issue.input === undefined) return "is missing";
      const quotes = issue.expected === "string" && ["number", "boolean"].includes(typeof issue.input);
      return `must be ${KINDS[issue.expected] ?? issue.expected}${quotes ? ": put it in quotes" : ""}`;
    }
    case "invalid_value":
      return issue.input === undefined ? "is missing" : `must be ${issue.values.map(String).join(" or ")}`;
    case "too_small":
      if (issue.origin === "string")
        return issue.minimum === 1 ? "is empty" : `must have ${issue.minimum} characters at least`;
      return issue.origin === "array" ? "needs one entry at least" : `must be ${issue.minimum} at least`;
    case "too_big":
      return issue.origin === "string"
        ? `must have ${issue.maximum} characters at most`
        : `must be ${issue.maximum} at most`;
    case "invalid_union":
      return Array.isArray(issue.options) ? `must be ${issue.options.map(String).join(" or ")}` : undefined;
    case "invalid_format":
      return issue.format === "url" ? "must be a URL with https" : undefined;
    default:
      return undefined;
  }
}

function faultsOf(issue: z.core.$ZodIssue): ConfigFault[] {
  if (issue.code !== "unrecognized_keys") return [{ path: pathText(issue.path), message: issue.message }];
  return issue.keys.map((key) => ({ path: pathText([...issue.path, key]), message: unknownField(issue.path, key) }));
}

function unknownField(path: readonly PropertyKey[], key: string): string {
  const known = fieldsAt(path);
  const plain = (name: string): string => name.toLowerCase().replaceAll(/[^a-z]/g, "");
  const meant = known.find((name) => plain(name) === plain(key)) ?? known.find((name) => editDistance(name, key) <= 2);
  return meant === undefined
    ? `is no field here; there are ${known.join(", ")}`
    : `is no field here; did you mean ${meant}?`;
}

/** The names that the schema knows below `path`. */
function fieldsAt(path: readonly PropertyKey[]): string[] {
  let schema: unknown = configSchema;
  for (const step of path) {
    const at = unwrapped(schema);
    if (at instanceof z.ZodObject) schema = at.shape[String(step)];
    else if (at instanceof z.ZodDiscriminatedUnion) schema = fieldOfAny(at, String(step));
    else if (at instanceof z.ZodArray) schema = at.element;
    else if (at instanceof z.ZodRecord) schema = at.valueType;
  }
  const at = unwrapped(schema);
  if (at instanceof z.ZodDiscriminatedUnion)
    return [...new Set(optionsOf(at).flatMap(({ shape }) => Object.keys(shape)))];
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

/** The field of that name in the first of the union's objects that has one. */
function fieldOfAny(union: z.ZodDiscriminatedUnion, name: string): unknown {
  return optionsOf(union).find(({ shape }) => Object.hasOwn(shape, name))?.shape[name];
}

function optionsOf(union: z.ZodDiscriminatedUnion): z.ZodObject[] {
  return union.options.filter((option) => option instanceof z.ZodObject);
}

function unwrapped(schema: unknown): unknown {
  const wraps = schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault;
  return wraps ? unwrapped(schema.unwrap()) : schema;
}

/** Levenshtein's distance: letters to add, drop or change. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 0; i < from.length; i += 1) {
    const next = [i + 1];
    for (let j = 1; j <= to.length; j += 1) {
      const change = (row[j - 1] ?? 0) + (from[i] === to[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
