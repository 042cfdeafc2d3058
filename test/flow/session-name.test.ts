import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashedSessionName, roleSessionName } from "../../src/flow/session-name.ts";

/** AWS's own limits, written down a second time on purpose. */
const AWS_NAME = /^[A-Za-z0-9_+=,.@-]{2,64}$/;

interface Person {
  readonly directory: string;
  readonly subject: string;
  readonly email: string;
}

function named(email: string, subject = "00u1", directory = "okta"): string {
  return roleSessionName({ directory, subject, email });
}

describe("the email is the name", () => {
  const cases: [name: string, email: string, expected: string][] = [
    ["as it is", "jane@acme.example", "jane@acme.example"],
    ["lower-cased", "Jane.DOE@Acme.Example", "jane.doe@acme.example"],
    ["with a plus", "a+b@acme.example", "a+b@acme.example"],
    ["with an underscore", "a_b@acme.example", "a_b@acme.example"],
    ["of 64 characters", `${"a".repeat(51)}@acme.example`, `${"a".repeat(51)}@acme.example`],
  ];
  it.each(cases)("%s", (_name, email, expected) => {
    expect(named(email)).toBe(expected);
  });
});

describe("the hashed form for what AWS can't take", () => {
  const cases: [name: string, email: string, readable: string][] = [
    ["65 characters", `${"a".repeat(52)}@acme.example`, "a".repeat(37)],
    ["an umlaut", "jürgen@acme.example", "jurgen"],
    ["the Kelvin sign, whose lower case is k", "\u212Aate@acme.example", "kate"],
    ["a Cyrillic a", "j\u0430ne@acme.example", "j-ne"],
    ["full-width letters", "ｊane@acme.example", "jane"],
    ["a full-width @, which folds to a plain one", "jane\uFF20x@acme.example", "jane-x"],
    ["an apostrophe", "o'neil@acme.example", "o-neil"],
    ["a newline at the end", "jane@acme.example\n", "jane"],
    ["nothing to read", "李@acme.example", "person"],
    ["only dots", "..@ü", "person"],
    ["no @", "jane", "jane"],
  ];
  it.each(cases)("%s", (_name, email, readable) => {
    const name = named(email);
    expect(name).toMatch(AWS_NAME);
    expect(name).not.toContain("@");
    expect(name.slice(0, -27)).toBe(readable);
    expect(name).toMatch(/-[a-z2-7]{26}$/);
  });

  it("is known by heart, since it must never change", () => {
    expect(hashedSessionName({ directory: "okta", subject: "00u1", email: "jürgen@acme.example" })).toBe(
      "jurgen-qqs36qbn6vruw4mx45jd4wlque",
    );
  });

  it("keeps directory and subject apart", () => {
    expect(named("ü@x", "bc", "a")).not.toBe(named("ü@x", "c", "ab"));
    expect(named("ü@x", "1", "okta")).not.toBe(named("ü@x", "1", "entra"));
  });

  it("stays the same when the person's email changes only in what can't be read", () => {
    expect(named("jürgen@acme.example")).toBe(named("jürgen@other.example"));
  });
});

/**
 * Emails of the kinds that people and attackers bring: one name in many spellings, equal first 64 characters, tags
 * by plus and underscore, forms that Unicode folds together.
 */
function email(i: number): string {
  const base = `p${Math.floor(i / 20)}`;
  const long = `${base}.${"x".repeat(64 - base.length)}`;
  const forms = [
    `${base}@acme.example`,
    `${base.toUpperCase()}@ACME.example`,
    `${base}+b@acme.example`,
    `${base}_b@acme.example`,
    `${base}-b@acme.example`,
    `${base}b@acme.example`,
    `${base}.b@acme.example`,
    `${base}k@acme.example`,
    `${base}\u212A@acme.example`,
    `${base}\uFF4B@acme.example`,
    `${base}\u043A@acme.example`,
    `${base}\u00E9@acme.example`,
    `${base}e\u0301@acme.example`,
    `${base}\uFB01@acme.example`,
    `${base}fi@acme.example`,
    `${base}\u0131@acme.example`,
    `${long}a@acme.example`,
    `${long}b@acme.example`,
    `${base}@acme.examp\u217Ce`,
    `${base}\u200B@acme.example`,
  ];
  return forms[i % 20] ?? "";
}

/** Two people may want one name only where their emails are the same ASCII text but for its case. */
function emailIdentity({ email }: Person): string | undefined {
  return /^[\x21-\x7e]+$/.test(email) ? email.toLowerCase() : undefined;
}

describe("law 3", () => {
  it("no two of 100,000 people share a name, unless their email is the same ASCII text but for case", () => {
    const byName = new Map<string, Person>();
    let shared = 0;
    for (let i = 0; i < 100_000; i += 1) {
      const person = { directory: i % 3 === 0 ? "okta" : "entra", subject: `s${i}`, email: email(i) };
      const name = roleSessionName(person);
      expect(name.length <= 64 && AWS_NAME.test(name)).toBe(true);
      const twin = byName.get(name);
      if (twin) {
        shared += 1;
        expect(emailIdentity(twin)).toBe(emailIdentity(person));
        expect(emailIdentity(person)).toBe(name);
      }
      byName.set(name, person);
    }
    // The one pair of spellings that differ by case alone: the ledger refuses the second one (`email_taken`).
    expect(shared).toBe(5_000);
  });

  const person = fc.record({
    directory: fc.constantFrom("okta", "entra", "a", "ab"),
    subject: fc.oneof(fc.string({ unit: "binary", maxLength: 8 }), fc.constantFrom("b", "1:b", "")),
    email: fc.oneof(
      fc.emailAddress(),
      fc.string({ unit: "binary", maxLength: 80 }),
      fc.string({ maxLength: 70 }).map((local) => `${local}@acme.example`),
      fc.constantFrom("K@x", "\u212A@x", "k@x", "İ@x", "ß@x"),
    ),
  });

  it("whatever comes, the name fits AWS, and has an @ only where it is the email itself", () => {
    fc.assert(
      fc.property(person, (one) => {
        const name = roleSessionName(one);
        expect(name).toMatch(AWS_NAME);
        expect(name).toBe(name.toLowerCase());
        expect(name.includes("@")).toBe(name === emailIdentity(one));
        expect(hashedSessionName(one)).toMatch(AWS_NAME);
        expect(hashedSessionName(one)).not.toContain("@");
      }),
      { numRuns: 5000 },
    );
  });

  it("two people share a name only by the same ASCII email", () => {
    fc.assert(
      fc.property(person, person, (one, other) => {
        fc.pre(one.directory !== other.directory || one.subject !== other.subject);
        if (roleSessionName(one) !== roleSessionName(other)) return;
        expect(emailIdentity(one)).toBe(roleSessionName(one));
        expect(emailIdentity(one)).toBe(emailIdentity(other));
      }),
      { numRuns: 5000 },
    );
  });
});
