import { mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { FileWatch } from "../../src/operator/file-watch.ts";
import { configFolder } from "../support/config-file.ts";

const HOUR = 3_600_000;
const SOON = { timeout: 10_000 };

it("hears of a change from the folder, and of one that comes in several pieces once", async () => {
  using folder = configFolder();
  const file = folder.write("list.csv", "one");
  let changes = 0;
  const watch = new FileWatch(() => (changes += 1), HOUR);
  watch.follow([file]);
  await expect.poll(() => changes, SOON).toBe(1);
  writeFileSync(file, "one, and");
  writeFileSync(file, "one, and two");
  await expect.poll(() => changes, SOON).toBe(2);
  folder.write("list.csv.new", "three");
  renameSync(`${file}.new`, file);
  await expect.poll(() => changes, SOON).toBe(3);
  watch.close();
});

it("finds by itself what no folder tells: a link further up that leads elsewhere now", async () => {
  using folder = configFolder();
  for (const name of ["first", "second"]) {
    mkdirSync(join(folder.path, name, "etc"), { recursive: true });
    writeFileSync(join(folder.path, name, "etc", "list.csv"), name);
  }
  const current = join(folder.path, "current");
  symlinkSync(join(folder.path, "first"), current);
  let changes = 0;
  const watch = new FileWatch(() => (changes += 1), 100);
  watch.follow([join(current, "etc", "list.csv")]);
  await expect.poll(() => changes, SOON).toBe(1);
  symlinkSync(join(folder.path, "second"), `${current}.new`);
  renameSync(`${current}.new`, current);
  await expect.poll(() => changes, SOON).toBe(2);
  watch.close();
});
