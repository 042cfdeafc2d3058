import { describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import { faults, productionConfig } from "../support/config-file.ts";

describe("YAML", () => {
  const bomb = `a: &a [x,x,x,x,x,x,x,x,x,x]\n${["b", "c", "d", "e", "f"]
    .map(
      (name, i) =>
        `${name}: &${name} [${Array(10)
          .fill(`*${"abcdef"[i] ?? ""}`)
          .join(",")}]`,
    )
    .join("\n")}\n`;
  const cases: [name: string, yaml: string, message: RegExp][] = [
    ["a key twice", "environment: production\nenvironment: development\n", /^line 2: .*second time/],
    ["a key twice, deep down", "tags:\n  team:\n    from: []\n  team:\n    from: []\n", /^line 4: .*second time/],
    ["a bracket that does not close", "providers: [\n", /^line \d: /],
    ["a quote that does not close", 'baseUrl: "https://x\n', /^line \d: /],
    ["tabs", "aws:\n\tregion: x\n", /^line 2: indent with spaces/],
    ["two documents", "a: 1\n---\nb: 2\n", /one YAML document/],
    ["a tag of YAML's", "baseUrl: !!binary aGk=\n", /^line 1: YAML tags/],
    ["a tag of nobody's", "baseUrl: !env X\n", /^line 1: YAML tags/],
    ["a key that is a list", "? [a, b]\n: c\n", /^line 1: a key must be plain text/],
    ["an alias without an anchor", "a: *b\n", /line 1: an alias/],
    ["a bomb of aliases", bomb, /aliases/],
    ["an empty file", "", /is empty/],
    ["a list", "- a\n", /must be a group of fields/],
    ["text", "hello\n", /must be a group of fields/],
  ];
  it.each(cases)("%s", (_name, yaml, message) => {
    expect(
      faults(yaml)
        .map((fault) => fault.message)
        .join("\n"),
    ).toMatch(message);
  });

  it("names no __proto__, wherever", () => {
    const yaml = `${JSON.stringify(productionConfig()).slice(0, -1)}, "access": { "__proto__": [] } }`;
    expect(faults(yaml)).toEqual([{ path: "access", message: expect.stringContaining("__proto__") as string }]);
  });

  it("tells of a file that isn't there", () => {
    expect(() => loadConfig("/nowhere/rolecall.yaml", {})).toThrow(/^can't be read \(ENOENT\): name it with --config$/);
  });
});
