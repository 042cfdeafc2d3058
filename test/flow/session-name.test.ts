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

/** Two people may want one name only where their emails are the same ASCII text but for its case. */
function emailIdentity({ email }: Person): string | undefined {
  return /^[\x21-\x7e]+$/.test(email) ? email.toLowerCase() : undefined;
}

describe("law 3", () => {
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
