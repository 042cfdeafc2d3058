import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { editProfile, hasAccessKey, readProfile } from "../../src/cli/aws-config.ts";
import { parseWithBotocore } from "../support/botocore.ts";

const OURS = new Map([
  ["credential_process", '"/opt/node" "/opt/rolecall.mjs" credentials --broker https://rolecall.acme.example'],
  ["region", "eu-central-1"],
]);

describe("edits, as bytes", () => {
  const P = "credential_process = x";
  const only = new Map([["credential_process", "x"]]);
  const cases: [name: string, before: string, after: string][] = [
    ["no file", "", `[profile p]\n${P}\n`],
    ["no section yet", "[default]\nregion=a\n", `[default]\nregion=a\n\n[profile p]\n${P}\n`],
    ["no final newline", "[default]\nregion=a", `[default]\nregion=a\n\n[profile p]\n${P}\n`],
    ["a blank line at the end", "[default]\n\n", `[default]\n\n[profile p]\n${P}\n`],
    ["CRLF", "[default]\r\nregion=a\r\n", `[default]\r\nregion=a\r\n\r\n[profile p]\r\n${P}\r\n`],
    ["an empty section", "[profile p]\n[default]\n", `[profile p]\n${P}\n[default]\n`],
    ["an empty section at the end of the file", "[profile p]", `[profile p]\n${P}\n`],
    ["a quoted name", `[profile "p"]\n# mine\nregion=a\n`, `[profile "p"]\n${P}\n# mine\nregion=a\n`],
    ["a value in its place", "[profile p]\na=1\ncredential_process=old\nb=2\n", `[profile p]\na=1\n${P}\nb=2\n`],
    ["a value on the last line", "[profile p]\ncredential_process=old", `[profile p]\n${P}`],
    ["the same value in other spacing", "[profile p]\ncredential_process=x\n", "[profile p]\ncredential_process=x\n"],
    ["a key in capitals", "[profile p]\nCredential_Process = old\n", `[profile p]\n${P}\n`],
    ["a key given twice", "[profile p]\ncredential_process=a\nz=1\ncredential_process=b\n", `[profile p]\n${P}\nz=1\n`],
    ["a value that goes on", "[profile p]\ncredential_process=a\n  b\n# c\nz=1\n", `[profile p]\n${P}\n# c\nz=1\n`],
    ["nested settings before", "[profile p]\ns3 =\n  a = 1\n", `[profile p]\n${P}\ns3 =\n  a = 1\n`],
    ["an indented section", "[profile p]\n  a = 1\n  b = 2\n", `[profile p]\n  ${P}\n  a = 1\n  b = 2\n`],
    [
      "the name in a nested setting only",
      "[profile q]\ns3 =\n  [profile p]\n",
      `[profile q]\ns3 =\n  [profile p]\n\n[profile p]\n${P}\n`,
    ],
    [
      "another profile's key",
      "[profile pp]\ncredential_process=a\n",
      `[profile pp]\ncredential_process=a\n\n[profile p]\n${P}\n`,
    ],
    ["an sso-session of that name", "[sso-session p]\nx=1\n", `[sso-session p]\nx=1\n\n[profile p]\n${P}\n`],
    ["bytes that are no UTF-8", "# \xff\xfe\xa0\n[profile p]\n", `# \xff\xfe\xa0\n[profile p]\n${P}\n`],
  ];
  test.each(cases)("%s", (_name, before, after) => {
    expect(editProfile(before, "p", only)).toBe(after);
  });

  test("the default profile has two spellings", () => {
    expect(editProfile("[default]\na=1\n", "default", only)).toBe(`[default]\n${P}\na=1\n`);
    expect(editProfile("[profile default]\na=1\n", "default", only)).toBe(`[profile default]\n${P}\na=1\n`);
    expect(editProfile("", "default", only)).toBe(`[default]\n${P}\n`);
  });

  test("keys to be removed go with what continues them, and nothing else does", () => {
    const before = "[profile p]\nrole_arn = r\nsso_session = a\n  b\noutput = json\n[profile q]\nrole_arn = r\n";
    const after = `[profile p]\n${P}\noutput = json\n[profile q]\nrole_arn = r\n`;
    expect(editProfile(before, "p", only, ["role_arn", "sso_session"])).toBe(after);
  });

  test("a profile that is there twice is nobody's to guess", () => {
    expect(() => editProfile("[profile p]\n[default]\n[profile p]\n", "p", only)).toThrow(RangeError);
    expect(() => readProfile("[default]\n[profile default]\n", "default")).toThrow(RangeError);
  });
});

describe("an access key in the credentials file", () => {
  const cases: [text: string, shadows: boolean][] = [
    ["[p]\naws_access_key_id = A\n", true],
    ["[ p ]\r\nAWS_ACCESS_KEY_ID=A\r\n", true],
    ["[profile p]\naws_access_key_id = A\n", true],
    ["[p]\nregion = a\n[q]\naws_access_key_id = A\n", false],
    ["[p]\n# aws_access_key_id = A\n", false],
    ["", false],
  ];
  test.each(cases)("%j: %s", (text, shadows) => {
    expect(hasAccessKey(text, "p")).toBe(shadows);
  });
});

const word = fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/);
const text = fc.stringMatching(/^[ -~\xa0-\xff]{0,20}$/);
const other = fc.oneof(
  fc.constant(""),
  fc.constant("  "),
  text.map((words) => `# ${words}`),
  text.map((words) => `  ; ${words}`),
);
const nested = fc.tuple(word, word).map(([key, value]) => [`${key} =`, `    inner = ${value}`, `    other=${value}`]);
const plainKey = fc.tuple(word, fc.constantFrom("=", " = ", " : ", "\t=\t"), text).map((parts) => [parts.join("")]);
const sourceKey = fc
  .tuple(fc.constantFrom("region", "credential_process", "Region"), word)
  .map(([key, value]) => [`${key} = theirs-${value}`]);
const body = fc.array(
  fc.oneof(
    nested,
    plainKey,
    sourceKey,
    other.map((line) => [line]),
  ),
  { maxLength: 6 },
);
const section = fc
  .tuple(fc.constantFrom("", "  "), body)
  .map(([indent, parts]) => parts.flat().map((line) => indent + line));
const names = fc.uniqueArray(
  fc.constantFrom("default", "profile p", 'profile "q"', "profile pp", "sso-session p", "services s"),
  {
    maxLength: 5,
  },
);

/** Config files as people have them: comments, blank lines, nesting, indented sections, CRLF, no newline at the end. */
const configFile = fc
  .tuple(
    fc.array(other, { maxLength: 2 }),
    names,
    fc.array(section, { minLength: 5, maxLength: 5 }),
    fc.constantFrom("\n", "\r\n"),
    fc.boolean(),
  )
  .map(([head, headers, bodies, newline, ended]) => {
    const sections = headers.flatMap((header, index) => [`[${header}]`, ...(bodies[index] ?? [])]);
    return [...head, ...sections].join(newline) + (ended ? newline : "");
  });

describe("for any file", () => {
  const linesOf = (file: string): string[] => file.split(/\r?\n/);
  const isOurs = (line: string): boolean => [...OURS].some(([key, value]) => line.trim() === `${key} = ${value}`);

  test("only lines of ours are added, only keys of ours are changed, and a second edit changes nothing", () => {
    fc.assert(
      fc.property(configFile, (before) => {
        const after = editProfile(before, "p", OURS);
        const isNew = readProfile(before, "p") === undefined;
        const kept = linesOf(after).filter((line) => !isOurs(line) && !(isNew && line === "[profile p]"));
        const gone = subtract(linesOf(before), kept);
        for (const line of gone) expect(line).toMatch(/^\s*(?:region|credential_process) = theirs|^\s*$/i);
        expect(
          isSubsequence(
            kept.filter((line) => line.trim() !== ""),
            linesOf(before),
          ),
        ).toBe(true);
        expect(Object.fromEntries(readProfile(after, "p") ?? [])).toMatchObject(Object.fromEntries(OURS));
        expect(editProfile(after, "p", OURS)).toBe(after);
      }),
      { numRuns: 2000 },
    );
  });

  test("a file without the profile is kept as it is, to its last byte", () => {
    fc.assert(
      fc.property(configFile, (before) => {
        if (readProfile(before, "p") !== undefined) return;
        expect(editProfile(before, "p", OURS).startsWith(before)).toBe(true);
      }),
    );
  });

  test("botocore reads ours in that profile, and everything else as before", () => {
    const files = fc.sample(configFile, 300);
    const parsed = parseWithBotocore(files.flatMap((before) => [before, editProfile(before, "p", OURS)]));
    let compared = 0;
    for (const [index, before] of files.entries()) {
      const [was, is] = parsed.slice(2 * index, 2 * index + 2);
      // A file that botocore refuses (a key twice) stays refused, or is mended where the key was ours.
      if (was === undefined || is === undefined || "error" in was) continue;
      const expected = { ...was, "profile p": { ...was["profile p"], ...Object.fromEntries(OURS) } };
      expect(is, before).toEqual(expected);
      compared += 1;
    }
    expect(compared).toBeGreaterThan(100);
  });
});

function subtract(from: readonly string[], lines: readonly string[]): string[] {
  const left = [...lines];
  return from.filter((line) => {
    const at = left.indexOf(line);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

function isSubsequence(lines: readonly string[], of: readonly string[]): boolean {
  let at = 0;
  for (const line of of) if (line === lines[at]) at += 1;
  return at === lines.length;
}
