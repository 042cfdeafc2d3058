import { describe, expect, it } from "vitest";
import { changed, faults, productionEnv } from "../support/config-file.ts";

describe("allowed lists in files", () => {
  const cases: [name: string, csv: string | undefined, message: RegExp][] = [
    ["not there", undefined, /can't be read \(ENOENT\)/],
    ["empty", "", /no value below its header/],
    ["only a header", "code\n", /no value below its header/],
    ["a value that AWS refuses", 'code\ncc-1\n"multi\nline",x\n', /^cc\.csv line 4: the tag value may hold/],
    ["a space at the end", "code\ncc-1\ncc-2 ,x\n", /^cc\.csv line 3: the tag value begins or ends with a space/],
    ["nothing in the first column", "code,name\ncc-1,x\n,y\n", /^cc\.csv line 3: the tag value is empty/],
    ["a quote that does not close", 'code\n"cc-1\n', /^cc\.csv line 2 is not CSV/],
  ];
  it.each(cases)("%s", (_name, csv, message) => {
    const config = changed("tags/cost-centre", { from: [{ claim: "c" }], allowed: { file: "cc.csv" } });
    const found = faults(config, productionEnv, csv === undefined ? {} : { "cc.csv": csv });
    expect(found.map(({ path }) => path)).toEqual(["tags.cost-centre.allowed.file"]);
    expect(found[0]?.message).toMatch(message);
  });
});
