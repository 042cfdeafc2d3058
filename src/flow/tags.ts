import { createHash } from "node:crypto";
import { RE2JS } from "re2js";
import canonicalize from "canonicalize";
import { Refusal, type ReasonCode } from "./errors.ts";
import type { Identity, JsonValue } from "./identity.ts";
import {
  keyProblem,
  MAX_PACKED_BYTES,
  MAX_TAGS,
  OPEN_VALUE_BYTES,
  packedBytes,
  unlistedProblem,
  valueProblem,
} from "./tag-limits.ts";

/** One place that a tag may come from, as rolecall.yaml writes it. */
export interface TagSource {
  /** A claim's name, or a JSON pointer (RFC 6901). */
  readonly claim: string;
  /** Provider IDs that this rule listens to; left out: all. */
  readonly providers?: readonly string[] | undefined;
  /** Claim value -> tag value, literal and exact. */
  readonly match?: Readonly<Record<string, string>> | undefined;
  /** RE2, anchored at both ends; the group `value`, or else the whole match, is the tag's value. */
  readonly pattern?: string | undefined;
}

export interface TagRule {
  readonly required?: boolean | undefined;
  /** In order: the first whose claim is there speaks, and its answer is final. */
  readonly from: readonly TagSource[];
  /** Left out: any value that AWS takes. */
  readonly allowed?: readonly string[] | undefined;
  /** Speaks only when no source had a claim at all. */
  readonly default?: string | undefined;
}

export type TagRules = Readonly<Record<string, TagRule>>;

/** What became of one rule: the ledger's and `explain`'s answer to "why this tag?". */
export interface TraceStep {
  readonly tag: string;
  /** `from[0]`, or `default`. */
  readonly rule: string;
  /** The claim that the rule reads; the default reads none. */
  readonly claim?: string;
  /** The tag's value, where the rule gave one. Never a raw claim. */
  readonly value?: string;
  readonly outcome: TraceOutcome;
}

export type TraceOutcome =
  | "spoke"
  | "no claim"
  | "other provider"
  | "not asked"
  | "no match"
  | "two values"
  | "not text"
  | "not allowed"
  | "bad characters"
  | "not kept";

/** Rules that have been checked. Only {@link compileMapping} makes one, so unchecked rules can't be applied. */
export interface Mapping {
  /** SHA-256 of the canonical rules, hex: two brokers with one mapping agree on it. */
  readonly version: string;
  readonly tags: readonly CompiledTag[];
}

interface CompiledTag {
  readonly key: string;
  readonly required: boolean;
  readonly sources: readonly CompiledSource[];
  readonly allowed: ReadonlySet<string> | undefined;
  readonly default: string | undefined;
}

interface CompiledSource {
  readonly rule: string;
  readonly claim: string;
  readonly providers: ReadonlySet<string> | undefined;
  /** Tag value of one claim value; undefined where the rule does not know it. */
  readonly read: (value: string) => string | undefined;
}

/** A fault of the rules: `path` is the field's place below `tags`, as in `team.from[0].pattern`. */
export interface MappingFault {
  readonly path: string;
  readonly message: string;
}

export interface MappedTags {
  readonly tags: Readonly<Record<string, string>>;
  readonly trace: readonly TraceStep[];
}

/** A refusal that carries how far the rules got. */
export class MappingRefusal extends Refusal {
  readonly trace: readonly TraceStep[];

  constructor(code: ReasonCode, message: string, trace: readonly TraceStep[]) {
    super(code, message);
    this.trace = trace;
  }
}

/**
 * Rules, checked whole and made ready. Returns the mapping, or every fault at once; nothing here does I/O, so an
 * `allowed` list that lies in a file has been read before.
 */
export function compileMapping(rules: TagRules): { mapping: Mapping } | { faults: MappingFault[] } {
  const faults: MappingFault[] = [];
  const fault: AddFault = (path, message) => void faults.push({ path, message });
  checkKeys(Object.keys(rules), fault);
  const tags = Object.entries(rules).map(([key, rule]) => compileTag(key, rule, fault));
  const worst = tags.reduce((sum, tag) => sum + packedBytes(tag.key, longestValue(tag, rules[tag.key] as TagRule)), 0);
  if (worst > MAX_PACKED_BYTES) {
    fault(
      "",
      `the longest tags together could need ${worst} bytes, and AWS packs about ${MAX_PACKED_BYTES}: shorten values, or bound open tags with an allowed list`,
    );
  }
  if (faults.length > 0) return { faults };
  return { mapping: { version: sha256(canonicalize(rules) ?? ""), tags } };
}

type AddFault = (path: string, message: string) => void;

function checkKeys(keys: readonly string[], fault: AddFault): void {
  if (keys.length > MAX_TAGS) fault("", `AWS takes ${MAX_TAGS} tags a session at most, not ${keys.length}`);
  const seen = new Map<string, string>();
  for (const key of keys) {
    const problem = keyProblem(key);
    if (problem !== undefined) fault(key, `the tag key ${problem}`);
    const twin = seen.get(key.toLowerCase());
    if (twin !== undefined) fault(key, `AWS holds this key to be the same as "${twin}": keys ignore case`);
    seen.set(key.toLowerCase(), key);
  }
}

function compileTag(key: string, rule: TagRule, fault: AddFault): CompiledTag {
  const allowed = rule.allowed && new Set(rule.allowed);
  const checkValue: AddFault = (path, value) => {
    const problem = valueProblem(value) ?? (allowed ? undefined : unlistedProblem(value));
    if (problem !== undefined) fault(path, `the tag value ${problem}`);
    else if (allowed && !allowed.has(value)) fault(path, "the value is not on the tag's allowed list");
  };
  if (rule.required === true && rule.default !== undefined)
    fault(`${key}.default`, "a required tag can't have a default: choose one of the two");
  if (rule.default !== undefined) checkValue(`${key}.default`, rule.default);
  if (rule.from.length === 0 && rule.default === undefined)
    fault(`${key}.from`, "needs one source at least, or a default");
  rule.allowed?.forEach((value, i) => {
    checkValue(`${key}.allowed[${i}]`, value);
  });
  if (rule.allowed?.length === 0) fault(`${key}.allowed`, "is empty, so that no value could ever pass");
  const sources = rule.from.map((source, i) => compileSource(key, source, i, checkValue, fault));
  return { key, required: rule.required ?? false, sources, allowed, default: rule.default };
}

function compileSource(
  key: string,
  source: TagSource,
  i: number,
  checkValue: AddFault,
  fault: AddFault,
): CompiledSource {
  const { claim, match, pattern } = source;
  const path = `${key}.from[${i}]`;
  if (match !== undefined && pattern !== undefined) fault(path, "match and pattern exclude each other");
  if (/^\/.*~(?![01])/s.test(claim))
    fault(`${path}.claim`, "in a JSON pointer ~ must be written ~0, and / in a name ~1");
  // UTF-16 halves can't be hashed into the mapping's version, and no claim that came as UTF-8 has any.
  if (![claim, pattern ?? "", ...Object.keys(match ?? {})].every((text) => text.isWellFormed()))
    fault(path, "holds half a Unicode character");
  if (match && Object.keys(match).length === 0) fault(`${path}.match`, "is empty, so that it could never match");
  for (const [claimValue, value] of Object.entries(match ?? {})) {
    checkValue(`${path}.match[${JSON.stringify(claimValue)}]`, value);
  }
  const read = (): CompiledSource["read"] => {
    if (match) return lookup(match);
    if (pattern === undefined) return (value) => value;
    return compilePattern(pattern, (message) => {
      fault(`${path}.pattern`, message);
    });
  };
  return { rule: `from[${i}]`, claim, providers: source.providers && new Set(source.providers), read: read() };
}

/** The claims that some rule of `mapping` reads for `provider`: what a sign-in there keeps. */
export function claimsRead(mapping: Mapping, provider: string): Set<string> {
  const sources = mapping.tags.flatMap((tag) => tag.sources);
  return new Set(sources.filter((source) => listensTo(source, provider)).map((source) => source.claim));
}

/**
 * The person's tags with the reason for each: every rule that spoke or stayed silent has its step in the trace.
 * Pure: the same identity and mapping give the same answer. Throws {@link MappingRefusal} with the trace so far
 * completed for all tags; the first tag at fault gives the code.
 */
export function mapTags(mapping: Mapping, identity: Pick<Identity, "provider" | "claims">): MappedTags {
  const trace: TraceStep[] = [];
  const tags = new Map<string, string>();
  let refusal: { code: ReasonCode; message: string } | undefined;
  let bytes = 0;
  for (const tag of mapping.tags) {
    const answer = readTag(tag, identity, trace);
    if (answer.value !== undefined) {
      tags.set(tag.key, answer.value);
      bytes += packedBytes(tag.key, Buffer.byteLength(answer.value));
    } else if (answer.code !== undefined) {
      refusal ??= { code: answer.code, message: `tag ${tag.key}: ${answer.message}` };
    }
  }
  // The mapping's own check counts a byte a character for open tags; a claim may hold longer ones.
  if (bytes > MAX_PACKED_BYTES)
    refusal ??= { code: "tags_too_large", message: `the tags need ${bytes} bytes of about ${MAX_PACKED_BYTES}` };
  if (refusal) throw new MappingRefusal(refusal.code, refusal.message, trace);
  return { tags: Object.fromEntries(tags), trace };
}

type Answer = { value?: string; code?: undefined } | { value?: undefined; code: ReasonCode; message: string };

function readTag(tag: CompiledTag, identity: Pick<Identity, "provider" | "claims">, trace: TraceStep[]): Answer {
  let final: Answer | undefined;
  for (const source of tag.sources) {
    const step = (outcome: TraceOutcome, value?: string): void => {
      trace.push({
        tag: tag.key,
        rule: source.rule,
        claim: source.claim,
        ...(value !== undefined && { value }),
        outcome,
      });
    };
    if (!listensTo(source, identity.provider)) step("other provider");
    else if (final) step("not asked");
    else if (!Object.hasOwn(identity.claims, source.claim)) {
      step("not kept");
      final = { code: "claim_not_kept", message: `the claim ${source.claim} was not kept at sign-in` };
    } else {
      const claim = identity.claims[source.claim] ?? null;
      if (claim === null) step("no claim");
      else final = readSource(tag, source, claim, step);
    }
  }
  if (final) return final;
  if (tag.default !== undefined) {
    trace.push({ tag: tag.key, rule: "default", value: tag.default, outcome: "spoke" });
    return { value: tag.default };
  }
  return tag.required ? { code: "tag_missing", message: "no source had a claim" } : {};
}

function readSource(
  tag: CompiledTag,
  source: CompiledSource,
  claim: JsonValue,
  step: (outcome: TraceOutcome, value?: string) => void,
): Answer {
  // A single group as a plain string is seen on real servers; anything but text is refused, never turned into text.
  const texts = typeof claim === "string" ? [claim] : claim;
  if (!Array.isArray(texts) || !texts.every((text) => typeof text === "string")) {
    step("not text");
    return { code: "claim_type", message: `the claim ${source.claim} must be text or a list of texts` };
  }
  const values = new Set(texts.map(source.read).filter((value) => value !== undefined && value !== ""));
  const [value] = values;
  if (value === undefined) {
    step("no match");
    if (tag.required)
      return { code: "tag_missing", message: `the claim ${source.claim} has no value that ${source.rule} knows` };
    // A default would hide that there was a claim which nobody understood (law 4).
    return tag.default === undefined
      ? {}
      : { code: "tag_unmatched", message: `the claim ${source.claim} has no value that ${source.rule} knows` };
  }
  if (values.size > 1) {
    step("two values");
    return {
      code: "tag_ambiguous",
      message: `${source.rule} gives ${values.size} different values from the claim ${source.claim}`,
    };
  }
  if (tag.allowed && !tag.allowed.has(value)) {
    step("not allowed");
    return { code: "tag_not_allowed", message: `the value that ${source.rule} gives is not on the allowed list` };
  }
  const problem = valueProblem(value) ?? (tag.allowed ? undefined : unlistedProblem(value));
  if (problem !== undefined) {
    step("bad characters");
    return { code: "tag_characters", message: `the value that ${source.rule} gives ${problem}` };
  }
  step("spoke", value);
  return { value };
}

function listensTo(source: CompiledSource, provider: string): boolean {
  return source.providers?.has(provider) ?? true;
}

function lookup(match: Readonly<Record<string, string>>): (value: string) => string | undefined {
  const table = new Map(Object.entries(match));
  return (value) => table.get(value);
}

/** Linear in the claim's length whatever the pattern (RE2), and anchored here, in the one place that compiles. */
function compilePattern(pattern: string, fault: (message: string) => void): (value: string) => string | undefined {
  try {
    const regex = RE2JS.compile(pattern);
    const group = Object.hasOwn(regex.namedGroups(), "value") ? "value" : 0;
    return (value) => {
      const matcher = regex.matcher(value);
      return matcher.matches() ? (matcher.group(group) ?? undefined) : undefined;
    };
  } catch (error) {
    fault(`is not a pattern that RE2 takes: ${error instanceof Error ? error.message : "unknown fault"}`);
    return () => undefined;
  }
}

/** Bytes of the longest value that the tag can take: bounded by its allowed list, or by what every source can give. */
function longestValue(tag: CompiledTag, rule: TagRule): number {
  const longest = (values: Iterable<string>): number =>
    [...values].reduce((most, value) => Math.max(most, Buffer.byteLength(value)), 0);
  if (tag.allowed) return longest(tag.allowed);
  const sources = rule.from.map((source) => (source.match ? longest(Object.values(source.match)) : OPEN_VALUE_BYTES));
  return Math.max(longest(tag.default === undefined ? [] : [tag.default]), ...sources);
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
