import { existsSync, globSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";

const ROOT = new URL("../../", import.meta.url);

/** What a page names in backquotes that is a file of the tests or of the code. */
async function filesNamedIn(page: string): Promise<string[]> {
  const text = await readFile(new URL(page, ROOT), "utf8");
  return [...text.matchAll(/`((?:test|src)\/[\w./-]+\.ts)`/g)].map(([, path = ""]) => path);
}

test.for([
  ["docs/threats.md", 40],
  ["docs/architecture.md", 10],
] as const)("every file that %s names is there", async ([page, least]) => {
  const named = await filesNamedIn(page);
  expect(named.length).toBeGreaterThan(least);
  expect(named.filter((path) => !existsSync(new URL(path, ROOT)))).toEqual([]);
});

test("every attack stands in docs/threats.md", async () => {
  const named = new Set(await filesNamedIn("docs/threats.md"));
  const attacks = globSync("test/attacks/*.test.ts", { cwd: ROOT.pathname });
  expect(attacks.filter((path) => !named.has(path))).toEqual([]);
});

test("every bad input of SAML that docs/threats.md lists has its row in the test that it names", async () => {
  const text = await readFile(new URL("docs/threats.md", ROOT), "utf8");
  const section = /## Bad input by SAML\n([^]*?)\n## /.exec(text)?.[1] ?? "";
  const rows = [...section.matchAll(/^\| (.+?) +\| `(test\/[^`]+)` +\| (.+?) +\|$/gm)];
  expect(rows.length).toBeGreaterThan(15);
  for (const [, input, path = "", called = ""] of rows) {
    expect(await readFile(new URL(path, ROOT), "utf8"), input).toContain(called);
  }
});
