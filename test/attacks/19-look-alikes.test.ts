import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { roleSessionName } from "../../src/flow/session-name.ts";
import { claimsOf, type Answer, accessToken, ANA, credentials, signIn } from "./support/sign-in.ts";
import { expectDenied } from "./support/refusals.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 19: two people under one session name by look-alike emails; tag values that look like others, or do harm in a sheet. */

/** AWS's own limits, written down a second time on purpose. */
const AWS_NAME = /^[A-Za-z0-9_+=,.@-]{2,64}$/;

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

interface Person {
  readonly directory: string;
  readonly subject: string;
  readonly email: string;
}

test("no two of 100,000 people share a name, unless their email is the same ASCII text but for case", () => {
  const byName = new Map<string, Person>();
  const wrong: unknown[] = [];
  let shared = 0;
  for (let i = 0; i < 100_000; i += 1) {
    const person = { directory: i % 3 === 0 ? "okta" : "entra", subject: `s${i}`, email: email(i) };
    const name = roleSessionName(person);
    if (!AWS_NAME.test(name)) wrong.push([name, person]);
    const twin = byName.get(name);
    if (twin) {
      shared += 1;
      const emails = [person.email.toLowerCase(), twin.email.toLowerCase()];
      if (emails.some((one) => one !== name)) wrong.push([name, person, twin]);
    }
    byName.set(name, person);
  }
  expect(wrong).toEqual([]);
  // The one pair of spellings that differ by case alone: the ledger refuses the second one (`email_taken`).
  expect(shared).toBe(5_000);
});

describe("at a broker", () => {
  let target: Target;
  beforeAll(async () => {
    target = await startTarget({
      config: ({ tags }) => ({
        tags: {
          ...tags,
          // Without a list: whatever the directory says, in plain letters.
          project: { from: [{ claim: "project" }] },
          formula: { from: [{ claim: "formula" }], allowed: ["=cmd", "\uff53earch", "two words"] },
        },
      }),
    });
  });
  afterAll(() => target.close());

  const person = (subject: string, mail: string): ReturnType<typeof claimsOf> =>
    claimsOf("okta", "Jane", { sub: subject, email: mail, preferred_username: mail });

  test("people whose emails look alike have names of their own; the same email in other letters is refused", async () => {
    const long = "x".repeat(63);
    const emails = [
      "a+b@acme.example",
      "a_b@acme.example",
      "a-b@acme.example",
      "a.b@acme.example",
      "ab@acme.example",
      "paul@acme.example",
      "p\u0430ul@acme.example",
      "p\uff41ul@acme.example",
      "ren\u00e9@acme.example",
      "rene\u0301@acme.example",
      "rene@acme.example",
      "\ufb01n@acme.example",
      "fin@acme.example",
      "\u212aim@acme.example",
      "kim@acme.example",
      `${long}a@acme.example`,
      `${long}b@acme.example`,
    ];
    const { rows } = await target.recorded(async () => {
      for (const [i, mail] of emails.entries()) {
        expect((await signIn(target, "okta", person(`00u-${i}`, mail))).answer.status, mail).toBe(303);
      }
    });
    const names = rows.filter(({ type }) => type === "identity.bound").map(({ sessionName = "" }) => sessionName);
    expect(names).toHaveLength(emails.length);
    expect(new Set(names.map((name) => name.toLowerCase())).size).toBe(emails.length);
    for (const name of names) expect(name).toMatch(AWS_NAME);
    for (const mail of ["A+B@acme.example", "PAUL@acme.example", "Kim@ACME.EXAMPLE"]) {
      await expectDenied(target, "okta", person("00u-thief", mail), "email_taken");
    }
    // Nobody's name by its hashed form either: that has no @, and no email is without.
    const hashed = names.find((name) => !name.includes("@")) ?? "none";
    await expectDenied(target, "okta", person("00u-thief", hashed), "email_malformed");
  });

  test("a name that was given stays, whatever the email becomes", async () => {
    await signIn(target, "okta", person("00u-ada", "ada@acme.example"));
    const { rows } = await target.recorded(() =>
      signIn(target, "okta", person("00u-ada", "ada.lovelace@acme.example")),
    );
    expect(rows).toMatchObject([{ type: "login.succeeded", sessionName: "ada@acme.example" }]);
    await expectDenied(target, "okta", person("00u-thief", "ada@acme.example"), "email_taken");
  });

  const teamClaim = "https://acme.example/team";
  const HOSTILE: [string, string][] = [
    ["in full-width letters", "\uff53earch"],
    ["with a trailing no-break space", "search\u00a0"],
    ["with a trailing space", "search "],
    ["with a leading space", " search"],
    ["with a line separator", "search\u2028"],
    ["with a line break", "search\n"],
    ["with a zero-width space", "se\u200barch"],
    ["with a bidi mark", "search\u202e"],
    ["with a Cyrillic letter", "s\u0435arch"],
    ["as a formula", "=cmd"],
    ["as a formula by plus", "+cmd"],
    ["as a formula by at", "@cmd"],
    ["as a formula by a tab", "\t=cmd"],
    ["with an emoji", "search\u{1f600}"],
    ["of 257 letters", "s".repeat(257)],
  ];
  const askFor = async (change: Record<string, string>): Promise<{ answer: Answer; codes: unknown[] }> => {
    const access = await accessToken(target, "auth0", { ...ANA, ...change });
    const { answer, rows } = await target.recorded(() => credentials(target, access));
    return { answer, codes: rows.map(({ type, reason }) => reason ?? type) };
  };

  test("a value of a list, written otherwise: refused", async () => {
    for (const [what, value] of [...HOSTILE, ["in capitals", "SEARCH"] as const]) {
      const { answer, codes } = await askFor({ [teamClaim]: value });
      expect([answer.status, codes], what).toEqual([403, ["tag_not_allowed"]]);
    }
    expect((await askFor({ [teamClaim]: "search" })).answer).toMatchObject({
      status: 200,
      body: { tags: { team: "search" } },
    });
  });

  test("a value that no list bounds: refused unless it is plain", async () => {
    for (const [what, value] of HOSTILE) {
      const { answer, codes } = await askFor({ project: value });
      expect([answer.status, codes], what).toEqual([403, ["tag_characters"]]);
    }
    expect((await askFor({ project: "alpha-1" })).answer).toMatchObject({
      status: 200,
      body: { tags: { project: "alpha-1" } },
    });
  });

  test.for(["=cmd", "\uff53earch", "two words"])(
    "a value that the company has put on the list is taken: %s",
    async (value) => {
      const { answer } = await askFor({ formula: value });
      expect(answer).toMatchObject({ status: 200, body: { tags: { formula: value } } });
    },
  );
});
