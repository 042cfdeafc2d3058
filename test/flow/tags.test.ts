import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Identity, JsonValue } from "../../src/flow/identity.ts";
import { keepClaims } from "../../src/flow/identity.ts";
import {
  claimsRead,
  compileMapping,
  MappingRefusal,
  mapTags,
  type Mapping,
  type TagRule,
  type TagRules,
  type TraceStep,
} from "../../src/flow/tags.ts";

/** What AWS takes as a tag value, written down a second time on purpose (AWS STS API reference, type Tag). */
const AWS_VALUE = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,256}$/u;

function compiled(rules: TagRules): Mapping {
  const result = compileMapping(rules);
  if ("faults" in result) throw new Error(JSON.stringify(result.faults));
  return result.mapping;
}

type Who = Pick<Identity, "provider" | "claims">;
type Answer = { code: string; tags: Readonly<Record<string, string>> | undefined; trace: readonly TraceStep[] };

function answer(mapping: Mapping, who: Who): Answer {
  try {
    return { code: "ok", ...mapTags(mapping, who) };
  } catch (error) {
    if (!(error instanceof MappingRefusal)) throw error;
    return { code: error.code, tags: undefined, trace: error.trace };
  }
}

function okta(claims: Who["claims"]): Who {
  return { provider: "okta", claims };
}

describe("every outcome, in the trace", () => {
  const groups = { claim: "groups", match: { "bedrock-search": "search", "bedrock-ml": "ml", "bedrock-ml-eu": "ml" } };
  const costCenter = { claim: "costCenter" };
  const listed: TagRule = { from: [costCenter], allowed: ["cc-1", "cc-2"], default: "cc-1" };
  const cases: [
    name: string,
    rule: TagRule,
    claims: Who["claims"],
    code: string,
    tag: string | undefined,
    outcomes: string[],
  ][] = [
    ["a group that the rule knows", { from: [groups] }, { groups: ["x", "bedrock-search"] }, "ok", "search", ["spoke"]],
    ["one group as plain text", { from: [groups] }, { groups: "bedrock-search" }, "ok", "search", ["spoke"]],
    ["two groups that agree", { from: [groups] }, { groups: ["bedrock-ml", "bedrock-ml-eu"] }, "ok", "ml", ["spoke"]],
    [
      "two that don't",
      { from: [groups] },
      { groups: ["bedrock-ml", "bedrock-search"] },
      "tag_ambiguous",
      undefined,
      ["two values"],
    ],
    ["the claim's value itself", { from: [costCenter] }, { costCenter: "cc-9" }, "ok", "cc-9", ["spoke"]],
    ["a value on the list", listed, { costCenter: "cc-2" }, "ok", "cc-2", ["spoke"]],
    ["a value off the list", listed, { costCenter: "cc-3" }, "tag_not_allowed", undefined, ["not allowed"]],
    ["a value in another case", listed, { costCenter: "CC-2" }, "tag_not_allowed", undefined, ["not allowed"]],
    ["no claim, with a default", listed, { costCenter: null }, "ok", "cc-1", ["no claim", "spoke"]],
    [
      "no claim, required",
      { required: true, from: [groups] },
      { groups: null },
      "tag_missing",
      undefined,
      ["no claim"],
    ],
    ["no claim, optional", { from: [groups] }, { groups: null }, "ok", undefined, ["no claim"]],
    [
      "nothing that the rule knows, required",
      { required: true, from: [groups] },
      { groups: ["x"] },
      "tag_missing",
      undefined,
      ["no match"],
    ],
    [
      "nothing that it knows, with a default",
      { from: [groups], default: "d" },
      { groups: ["x"] },
      "tag_unmatched",
      undefined,
      ["no match"],
    ],
    ["nothing that it knows, optional", { from: [groups] }, { groups: ["x"] }, "ok", undefined, ["no match"]],
    [
      "an empty list is a claim",
      { from: [groups], default: "d" },
      { groups: [] },
      "tag_unmatched",
      undefined,
      ["no match"],
    ],
    [
      "empty text is a claim",
      { from: [costCenter], default: "d" },
      { costCenter: "" },
      "tag_unmatched",
      undefined,
      ["no match"],
    ],
    ["a number", { from: [costCenter] }, { costCenter: 1042 }, "claim_type", undefined, ["not text"]],
    ["true", { from: [costCenter] }, { costCenter: true }, "claim_type", undefined, ["not text"]],
    ["an object", { from: [costCenter] }, { costCenter: { value: "cc-1" } }, "claim_type", undefined, ["not text"]],
    [
      "a list with a number in it",
      { from: [groups] },
      { groups: ["bedrock-search", 7] },
      "claim_type",
      undefined,
      ["not text"],
    ],
    ["a list in a list", { from: [groups] }, { groups: [["bedrock-search"]] }, "claim_type", undefined, ["not text"]],
    ["a claim that nobody kept", { from: [groups] }, {}, "claim_not_kept", undefined, ["not kept"]],
    [
      "characters that AWS refuses",
      { from: [costCenter] },
      { costCenter: "R&D, #1" },
      "tag_characters",
      undefined,
      ["bad characters"],
    ],
    [
      "the first source whose claim is there is final",
      { from: [groups, costCenter] },
      { groups: ["bedrock-ml"], costCenter: "cc-1" },
      "ok",
      "ml",
      ["spoke", "not asked"],
    ],
    [
      "also when it knows nothing",
      { required: true, from: [groups, costCenter] },
      { groups: ["x"], costCenter: "cc-1" },
      "tag_missing",
      undefined,
      ["no match", "not asked"],
    ],
    [
      "the next one where the first has no claim",
      { required: true, from: [groups, costCenter] },
      { groups: null, costCenter: "cc-1" },
      "ok",
      "cc-1",
      ["no claim", "spoke"],
    ],
    [
      "a rule for another provider stays silent",
      { from: [{ ...groups, providers: ["entra"] }, costCenter] },
      { groups: ["bedrock-ml"], costCenter: "cc-1" },
      "ok",
      "cc-1",
      ["other provider", "spoke"],
    ],
  ];
  it.each(cases)("%s", (_name, rule, claims, code, tag, outcomes) => {
    const got = answer(compiled({ team: rule }), okta(claims));
    expect({ code: got.code, tag: got.tags?.["team"], outcomes: got.trace.map((step) => step.outcome) }).toEqual({
      code,
      tag,
      outcomes,
    });
    for (const step of got.trace) expect(step.value).toBe(step.outcome === "spoke" ? tag : undefined);
  });

  it("goes on past a refusal, so that the trace has every tag; the first at fault gives the code", () => {
    const mapping = compiled({
      a: { required: true, from: [groups] },
      b: { from: [costCenter], allowed: ["cc-1"] },
      c: { from: [], default: "d" },
    });
    const got = answer(mapping, okta({ groups: null, costCenter: "cc-7" }));
    expect(got.code).toBe("tag_missing");
    expect(got.trace.map(({ tag, outcome }) => `${tag}: ${outcome}`)).toEqual([
      "a: no claim",
      "b: not allowed",
      "c: spoke",
    ]);
  });

  it("never shows a raw claim, in the trace or the message", () => {
    const secret = "value-of-a-claim";
    for (const claims of [{ costCenter: secret }, { costCenter: [secret, "x"] }, { costCenter: { secret } }]) {
      const mapping = compiled({ t: { from: [costCenter], allowed: ["cc-1"] } });
      try {
        mapTags(mapping, okta(claims));
        expect.unreachable();
      } catch (error) {
        expect(error).toBeInstanceOf(MappingRefusal);
        expect(`${String(error)} ${JSON.stringify((error as MappingRefusal).trace)}`).not.toContain(secret);
      }
    }
  });
});

describe("patterns", () => {
  const cases: [name: string, pattern: string, claim: string, value: string | undefined][] = [
    ["the group named value", "R&D / (?<value>[a-z-]+)", "R&D / ml-platform", "ml-platform"],
    ["the whole match without one", "cc-[0-9]{4}", "cc-1042", "cc-1042"],
    ["anchored at the front", "cc-[0-9]{4}", "x cc-1042", undefined],
    ["anchored at the end", "cc-[0-9]{4}", "cc-1042x", undefined],
    ["no newline slips past the end", "cc-[0-9]{4}", "cc-1042\n", undefined],
    ["nor past a multi-line flag", "(?m)^cc-[0-9]{4}$", "x\ncc-1042", undefined],
    ["an alternative can't leave the rest over", "a|ab", "ab", "ab"],
    ["anchors hold for every alternative", "cc|dd", "ccx", undefined],
    ["a group that took no part", "(?:x(?<value>[0-9]))|y", "y", undefined],
    ["case counts", "[a-z]+", "ML", undefined],
  ];
  it.each(cases)("%s", (_name, pattern, claim, value) => {
    const mapping = compiled({ t: { from: [{ claim: "c", pattern }] } });
    expect(answer(mapping, okta({ c: claim })).tags).toEqual(value === undefined ? {} : { t: value });
  });
});

describe("values that only look right are refused unless an allowed list names them", () => {
  const cases: [name: string, value: string][] = [
    ["full-width letters", "ｓｅａｒｃｈ"],
    ["a full-width digit", "cc-１042"],
    ["a ligature", "ﬁnance"],
    ["a no-break space inside", "a\u00A0b"],
    ["a line separator inside", "a\u2028b"],
    ["an ideographic space inside", "a\u3000b"],
    ["an invisible letter", "a\u1160b"],
    ["the Kelvin sign", "\u212Aelvin"],
    ["a formula", "=cmd"],
    ["a formula by plus", "+1"],
    ["a formula by minus", "-1"],
    ["a formula by at", "@SUM"],
  ];
  it.each(cases)("%s", (_name, value) => {
    const open = compiled({ t: { from: [{ claim: "c" }] } });
    expect(answer(open, okta({ c: value })).code).toBe("tag_characters");
    const listed = compiled({ t: { from: [{ claim: "c" }], allowed: [value] } });
    expect(answer(listed, okta({ c: value }))).toMatchObject({ code: "ok", tags: { t: value } });
    const byMatch = compileMapping({ t: { from: [{ claim: "c", match: { x: value } }] } });
    expect(byMatch).toMatchObject({ faults: [{ path: 't.from[0].match["x"]' }] });
  });

  const never: [name: string, value: string][] = [
    ["a no-break space at the end", "search\u00A0"],
    ["a space at the front", " search"],
    ["a line separator at the end", "search\u2028"],
    ["a comma", "a,b"],
    ["a zero-width space", "a\u200Bb"],
    ["a bidi mark", "a\u202Eb"],
    ["a combining accent", "e\u0301"],
    ["a control character", "a\u0000b"],
    ["an emoji", "a😀"],
    ["half of one", "a\uD83D"],
    ["the prefix that is AWS's own", "AWS:x"],
    ["257 characters", "a".repeat(257)],
  ];
  it.each(never)("%s is refused everywhere", (_name, value) => {
    const open = compiled({ t: { from: [{ claim: "c" }] } });
    expect(answer(open, okta({ c: value })).code).toBe("tag_characters");
    expect(compileMapping({ t: { from: [{ claim: "c" }], allowed: [value] } })).toMatchObject({
      faults: [{ path: "t.allowed[0]" }],
    });
  });

  it("never cuts or mends: the tag is the claim's own text, or there is none", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 40 }), (value) => {
        const got = answer(compiled({ t: { from: [{ claim: "c" }] } }), okta({ c: value }));
        expect([value, undefined]).toContain(got.tags?.["t"]);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("the rules' own faults, all at once", () => {
  const cases: [name: string, rules: TagRules, path: string, message: RegExp][] = [
    [
      "required with a default",
      { t: { required: true, from: [{ claim: "c" }], default: "d" } },
      "t.default",
      /choose one/,
    ],
    ["no source and no default", { t: { from: [] } }, "t.from", /one source/],
    [
      "a default off the list",
      { t: { from: [], allowed: ["a"], default: "b" } },
      "t.default",
      /not on the tag's allowed list/,
    ],
    [
      "that of a key that looks like a path",
      { "t.allowed": { from: [], allowed: ["a"], default: "b" } },
      "t.allowed.default",
      /not on/,
    ],
    [
      "a match off the list",
      { t: { from: [{ claim: "c", match: { x: "b" } }], allowed: ["a"] } },
      't.from[0].match["x"]',
      /not on/,
    ],
    ["an empty list", { t: { from: [{ claim: "c" }], allowed: [] } }, "t.allowed", /is empty/],
    ["an empty match", { t: { from: [{ claim: "c", match: {} }] } }, "t.from[0].match", /is empty/],
    ["match and pattern", { t: { from: [{ claim: "c", match: { x: "a" }, pattern: "x" }] } }, "t.from[0]", /exclude/],
    ["a pattern that RE2 has not", { t: { from: [{ claim: "c", pattern: "(?=x)" }] } }, "t.from[0].pattern", /RE2/],
    ["a back reference", { t: { from: [{ claim: "c", pattern: "(a)\\1" }] } }, "t.from[0].pattern", /RE2/],
    ["a broken pointer", { t: { from: [{ claim: "/a~b" }] } }, "t.from[0].claim", /~0/],
    ["half a character", { t: { from: [{ claim: "a\uD83D" }] } }, "t.from[0]", /half a Unicode/],
    ["half a character in a match", { t: { from: [{ claim: "c", match: { "\uD83D": "a" } }] } }, "t.from[0]", /half/],
    [
      "keys that differ by case",
      { Team: { from: [], default: "a" }, team: { from: [], default: "a" } },
      "team",
      /ignore case/,
    ],
    ["a key of AWS's own", { "aws:x": { from: [], default: "a" } }, "aws:x", /aws:/],
    ["a key with a comma", { "a,b": { from: [], default: "a" } }, "a,b", /letters, digits/],
    ["an empty key", { "": { from: [], default: "a" } }, "", /1 to 128/],
    ["a long key", { ["k".repeat(129)]: { from: [], default: "a" } }, "k".repeat(129), /1 to 128/],
    ["two open tags", { a: { from: [{ claim: "a" }] }, b: { from: [{ claim: "b" }] } }, "", /bytes/],
    [
      "51 tags",
      Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`t${i}`, { from: [], default: "a" }])),
      "",
      /50 tags/,
    ],
  ];
  it.each(cases)("%s", (_name, rules, path, message) => {
    const result = compileMapping(rules);
    expect(result).toHaveProperty("faults");
    const found = "faults" in result ? result.faults.filter((fault) => fault.path === path) : [];
    expect(found.map((fault) => fault.message).join("\n")).toMatch(message);
  });

  it("takes a list of 200,000 values", () => {
    const allowed = Array.from({ length: 200_000 }, (_, i) => `cc-${i}`);
    const mapping = compiled({ t: { from: [{ claim: "c" }], allowed } });
    expect(answer(mapping, okta({ c: "cc-199999" })).tags).toEqual({ t: "cc-199999" });
  });

  it("gives one version to one set of rules, in whatever order, and another to another", () => {
    const one: TagRules = { a: { from: [], default: "x" }, b: { from: [], default: "y" } };
    const same: TagRules = { b: { default: "y", from: [] }, a: { from: [], default: "x" } };
    expect(compiled(one).version).toBe(compiled(same).version);
    expect(compiled(one).version).not.toBe(compiled({ ...one, b: { from: [], default: "z" } }).version);
  });
});

/** Random rules that compile, over few claims and values, so that they often meet the people below. */
const value = fc.constantFrom("search", "ml", "a b", "x_1");
const claimName = fc.constantFrom("groups", "dept", "/profile/team", "https://acme.example/team");
const providerId = fc.constantFrom("okta", "entra");
const source = fc.record(
  {
    claim: claimName,
    providers: fc.uniqueArray(providerId, { minLength: 1 }),
    match: fc.dictionary(fc.constantFrom("g1", "g2", "search"), value, { minKeys: 1 }),
    pattern: fc.constantFrom("g-(?<value>[a-z]+)", "[a-z]+", ".*"),
  },
  { requiredKeys: ["claim"] },
);
const rule = fc
  .record(
    {
      required: fc.boolean(),
      from: fc.array(source, { maxLength: 3 }),
      allowed: fc.uniqueArray(value, { minLength: 1 }),
      default: value,
    },
    { requiredKeys: ["from"] },
  )
  .map((drawn): TagRule => {
    const from = drawn.from.map(({ pattern, ...rest }) =>
      rest.match ? rest : pattern === undefined ? rest : { ...rest, pattern },
    );
    return { ...drawn, from };
  });
const mappings = fc
  .dictionary(fc.constantFrom("team", "cost-centre"), rule, { minKeys: 1 })
  .map((rules) => ({ rules, result: compileMapping(rules) }))
  .filter(({ result }) => "mapping" in result)
  .map(({ rules, result }) => ({ rules, mapping: (result as { mapping: Mapping }).mapping }));
const text = fc.oneof(
  value,
  fc.constantFrom("g1", "g2", "g-search", "", "=x", "ｘ"),
  fc.string({ unit: "binary", maxLength: 5 }),
);
const claim: fc.Arbitrary<JsonValue> = fc.oneof(
  { weight: 3, arbitrary: text },
  { weight: 4, arbitrary: fc.array(text, { maxLength: 4 }) },
  { weight: 2, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<JsonValue> },
);
const people: fc.Arbitrary<Who> = fc.record({
  provider: providerId,
  claims: fc.dictionary(claimName, claim),
});

describe("laws, for any rules and anybody", () => {
  const law = (name: string, holds: (rules: TagRules, mapping: Mapping, who: Who) => void): void => {
    it(name, () => {
      fc.assert(
        fc.property(mappings, people, ({ rules, mapping }, who) => {
          holds(rules, mapping, who);
        }),
        { numRuns: 2000 },
      );
    });
  };

  law("the same answer every time, and nothing is changed", (_rules, mapping, who) => {
    const before = JSON.stringify(who);
    const first = answer(mapping, who);
    expect(answer(mapping, who)).toEqual(first);
    expect(JSON.stringify(who)).toBe(before);
  });

  law("never a value off the allowed list", (rules, mapping, who) => {
    for (const [key, got] of Object.entries(answer(mapping, who).tags ?? {})) {
      const allowed = rules[key]?.allowed;
      if (allowed) expect(allowed).toContain(got);
    }
  });

  law("never a value that AWS refuses", (_rules, mapping, who) => {
    for (const got of Object.values(answer(mapping, who).tags ?? {})) {
      expect(got).toMatch(AWS_VALUE);
      expect(got.isWellFormed()).toBe(true);
      expect(got.toLowerCase().startsWith("aws:")).toBe(false);
    }
  });

  law("never without a required tag", (rules, mapping, who) => {
    const { tags } = answer(mapping, who);
    if (!tags) return;
    for (const [key, { required }] of Object.entries(rules)) if (required) expect(tags).toHaveProperty([key]);
  });

  law("the default speaks only when no source that listens had a claim at all", (rules, mapping, who) => {
    for (const step of answer(mapping, who).trace.filter((one) => one.rule === "default")) {
      const heard = rules[step.tag]?.from.filter((one) => one.providers?.includes(who.provider) ?? true) ?? [];
      for (const one of heard) expect(who.claims[one.claim] ?? null).toBeNull();
    }
  });

  law("the order of groups never matters", (_rules, mapping, who) => {
    const turned = Object.entries(who.claims).map(([key, one]) => [key, Array.isArray(one) ? one.toReversed() : one]);
    expect(answer(mapping, { ...who, claims: Object.fromEntries(turned) as Who["claims"] })).toEqual(
      answer(mapping, who),
    );
  });

  law("every rule has exactly one step, in order", (rules, mapping, who) => {
    const steps = answer(mapping, who).trace.filter((step) => step.rule !== "default");
    const wanted = Object.entries(rules).flatMap(([key, { from }]) => from.map((_, i) => `${key} from[${i}]`));
    expect(steps.map((step) => `${step.tag} ${step.rule}`)).toEqual(wanted);
  });

  // Threat 26: provider A's admin makes a group named like B's.
  law("what only another provider's rules read changes nothing", (_rules, mapping, who) => {
    const read = claimsRead(mapping, who.provider);
    const unread = Object.fromEntries(["groups", "dept"].filter((name) => !read.has(name)).map((name) => [name, "g1"]));
    expect(answer(mapping, { ...who, claims: { ...who.claims, ...unread } })).toEqual(answer(mapping, who));
  });

  law("what a sign-in keeps is enough to decide", (_rules, mapping, who) => {
    const claims = keepClaims(who.claims, claimsRead(mapping, who.provider));
    expect(answer(mapping, { ...who, claims }).code).not.toBe("claim_not_kept");
  });
});

describe("hostile names and sizes", () => {
  it.each(["__proto__", "constructor", "toString", "hasOwnProperty"])(
    "%s is as absent as any claim that nobody sent",
    (name) => {
      const mapping = compiled({ t: { required: true, from: [{ claim: name }] } });
      expect(answer(mapping, okta(keepClaims({}, [name]))).code).toBe("tag_missing");
      const sent = JSON.parse(`{${JSON.stringify(name)}: "search"}`) as Record<string, JsonValue>;
      expect(answer(mapping, okta(keepClaims(sent, [name]))).tags).toEqual({ t: "search" });
    },
  );

  it.each(["__proto__", "constructor", "toString"])("%s as a group matches nothing", (name) => {
    const mapping = compiled({ t: { required: true, from: [{ claim: "groups", match: { a: "b" } }] } });
    expect(answer(mapping, okta({ groups: [name] })).code).toBe("tag_missing");
  });

  it("a tag named __proto__ is a tag", () => {
    const rules = JSON.parse('{"__proto__": {"from": [], "default": "x"}}') as TagRules;
    const { tags } = answer(compiled(rules), okta({}));
    expect(Object.entries(tags ?? {})).toEqual([["__proto__", "x"]]);
    expect(Object.getPrototypeOf(tags)).toBe(Object.prototype);
  });

  const groups = Array.from({ length: 10_000 }, (_, i) => `group-${i}`);
  const sizes: [name: string, from: TagRule["from"], claims: Who["claims"], code: string][] = [
    ["10,000 groups, one known", [{ claim: "c", match: { "group-9999": "ml" } }], { c: groups }, "ok"],
    ["10,000 groups, none known", [{ claim: "c", match: { x: "ml" } }], { c: groups }, "tag_missing"],
    ["10,000 groups by a pattern", [{ claim: "c", pattern: "(?:group-)+(?<value>9999)" }], { c: groups }, "ok"],
    ["10,000 groups taken as they are", [{ claim: "c" }], { c: groups }, "tag_ambiguous"],
    ["a claim of 1 MB", [{ claim: "c" }], { c: "a".repeat(1_000_000) }, "tag_characters"],
    [
      "a claim of 1 MB, a pattern of nested stars",
      [{ claim: "c", pattern: "(?:(?:a*)*)*b" }],
      { c: "a".repeat(1_000_000) },
      "tag_missing",
    ],
    ["a claim of 1 MB in a match", [{ claim: "c", match: { a: "b" } }], { c: "a".repeat(1_000_000) }, "tag_missing"],
  ];
  // The runner's own limit is the bound here: a backtracking pattern would never end.
  it.each(sizes)("%s", (_name, from, claims, code) => {
    expect(answer(compiled({ t: { required: true, from } }), okta(claims)).code).toBe(code);
  });

  it("refuses tags that are too long together though each is fine", () => {
    const mapping = compiled({ t: { from: [{ claim: "c" }] } });
    expect(answer(mapping, okta({ c: "é".repeat(100) })).code).toBe("ok");
    expect(answer(mapping, okta({ c: "é".repeat(256) })).code).toBe("tags_too_large");
  });
});
