import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Refusal } from "../../src/flow/errors.ts";
import type { Identity, JsonValue } from "../../src/flow/identity.ts";
import { identityFromClaims, personInClaims } from "../../src/idp/identity.ts";
import { hasDuplicateMembers } from "../../src/idp/unique-members.ts";
import { TENANT, providerConfig } from "../support/provider-config.ts";

const KINDS = ["okta", "entra", "auth0", "generic"] as const;
const OID = "6a5d2c14-03b7-4b7d-9b0e-7f1a2c3d4e01";
const json = fc.jsonValue({ noUnicodeString: false }) as fc.Arbitrary<JsonValue>;
/** Mostly what passes, so that the later checks are reached too. */
const mostly = (value: JsonValue): fc.Arbitrary<JsonValue> =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(value) }, { weight: 1, arbitrary: json });

/** Near misses of a good address, and anything at all. */
const email = fc.oneof(
  { weight: 3, arbitrary: json },
  fc
    .tuple(
      fc.string({ unit: "binary", maxLength: 6 }),
      fc.constantFrom("@", "@@", "@x@", "\uff20"),
      fc.constantFrom(
        "acme.example",
        "ACME.example",
        "evil.example",
        "acme.example.",
        "\u0430cme.example",
        "acme。example",
      ),
      fc.string({ unit: "binary", maxLength: 2 }),
    )
    .map((parts) => parts.join("")),
  fc.emailAddress(),
  fc.constantFrom("jane@acme.example", "Jane@ACME.EXAMPLE"),
);

const claims = fc
  .record(
    {
      sub: mostly("00u1"),
      tid: mostly(TENANT),
      oid: mostly(OID),
      email,
      email_verified: mostly(true),
      xms_edov: mostly(true),
      upn: email,
      preferred_username: email,
      acct: mostly(0),
      idp: mostly(null),
      groups: json,
      _claim_names: json,
      hasgroups: json,
      org_id: json,
    },
    { requiredKeys: [] },
  )
  .chain((known) => fc.dictionary(fc.string(), json).map((others) => ({ ...others, ...known })));

const paths = fc.array(fc.oneof(fc.string(), fc.constantFrom("groups", "/groups/0", "__proto__", "/", "")), {
  maxLength: 4,
});

function identify(kind: (typeof KINDS)[number], sent: Record<string, JsonValue>, read: string[]): Identity | undefined {
  try {
    return identityFromClaims(providerConfig(kind), sent, read, 0);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

describe("whatever the claims are", () => {
  test.each(KINDS)("%s: a Refusal, or somebody with an email of the provider's own domain", (kind) => {
    let accepted = 0;
    fc.assert(
      fc.property(claims, paths, (sent, read) => {
        const identity = identify(kind, sent, read);
        if (!identity) return;
        accepted += 1;
        expect(identity.email).toBe(sent["email"]);
        expect(identity.email).toMatch(/^[^@\s]+@[aA][cC][mM][eE]\.[eE][xX][aA][mM][pP][lL][eE]$/);
        expect(Object.keys(identity.claims).toSorted()).toEqual([...new Set(read)].toSorted());
        expect(identity.subject).not.toBe("");
      }),
      { numRuns: 1_000 },
    );
    expect(accepted).toBeGreaterThan(0);
  });

  test.each(KINDS)("%s: the record of a refusal can be made", (kind) => {
    fc.assert(
      fc.property(claims, (sent) => {
        expect(personInClaims(providerConfig(kind), sent).provider).toBe(kind);
      }),
    );
  });

  test.each(KINDS)("%s: the answer is the same twice, and the claims are left as they were", (kind) => {
    fc.assert(
      fc.property(claims, paths, (sent, read) => {
        const before = structuredClone(sent);
        expect(identify(kind, sent, read)).toEqual(identify(kind, sent, read));
        expect(sent).toEqual(before);
      }),
    );
  });
});

describe("members that stand twice", () => {
  test("are never seen in what JSON.stringify wrote", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(hasDuplicateMembers(JSON.stringify(JSON.parse(text)))).toBe(false);
      }),
    );
  });

  test.each([
    ['{"a":1,"a":1}', true],
    ['{"a":1,"\\u0061":2}', true],
    ['{"x":[{"b":{},"c":"}","b":[]}]}', true],
    ['{"a":{"a":{"a":1}}}', false],
    ['[{"a":1},{"a":1}]', false],
    ['{"a":"\\"a\\":","b":"a"}', false],
    ['{"a":["a","a"],"b":"a"}', false],
    ['{"":1,"":2}', true],
    ['{"__proto__":1,"__proto__":2}', true],
  ])("%s: %s", (text, twice) => {
    expect(hasDuplicateMembers(text)).toBe(twice);
  });

  test("are looked for in linear time and bounded stack", () => {
    const long = JSON.stringify({ a: "\\".repeat(300_000), b: '"'.repeat(300_000) });
    expect(hasDuplicateMembers(`${"[".repeat(50_000)}${long}${"]".repeat(50_000)}`)).toBe(false);
  });
});
