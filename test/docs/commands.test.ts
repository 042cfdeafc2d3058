import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startBroker } from "../../src/app.ts";
import { startCompany, type Company } from "../support/company.ts";
import { recordingLog } from "../support/log.ts";

/**
 * The commands of the pages that somebody opens on a bad day, run in their order on one record. What follows a pipe is
 * somebody else's program, and is left out; of commands that differ in values alone, the first is run. The built broker
 * starts faster than the source.
 */

const ROOT = new URL("../../", import.meta.url);
const BROKER = fileURLToPath(new URL("dist/broker.js", ROOT));
const PAGES = ["docs/recovery.md", "docs/backup.md"];

let company: Company;
/** What stands for a name of the pages. */
let values: Record<string, string>;

beforeAll(async () => {
  company = await startCompany();
  const jane = await company.employee("okta", "Jane");
  await jane.run(["credentials"]);
  const issued = (await company.rows()).find(({ type }) => type === "credentials.issued");
  const { signInId = "", grantId = "", keyId = "" } = issued ?? {};
  values = { SIGN_IN_ID: signInId, GRANT_ID: grantId, KID: keyId, "/backup/": `${company.folder}/` };
  await writeFile(join(company.folder, "note.txt"), await checkpoint());
});
afterAll(() => company.close());

/** A broker that stops prints one. */
async function checkpoint(): Promise<string> {
  const log = recordingLog();
  const stopped = await startBroker({ ...company.config, listen: { host: "127.0.0.1", port: 0 } }, log);
  await stopped.close();
  return String(log.lines.findLast(({ message }) => message === "ledger checkpoint")?.fields["checkpoint"]);
}

/** Lines of the page's indented code that begin with the program's name. */
async function commandsIn(page: string): Promise<string[]> {
  const text = await readFile(new URL(page, ROOT), "utf8");
  return [...text.matchAll(/^(?: {4}| {7})rolecall-broker (.*)$/gm)].map(
    ([, rest = ""]) => rest.split(" | ", 1)[0] ?? "",
  );
}

/** Subcommands and options, without values: `revoke --person --reason`. */
function shape(command: string): string {
  return command
    .replaceAll(/'[^']*'/g, "")
    .split(" ")
    .filter((word) => /^--(?!config)|^[a-z/-]+$/.test(word))
    .join(" ");
}

test("the commands of recovery.md and backup.md do what they say", async () => {
  const commands = (await Promise.all(PAGES.map(commandsIn))).flat();
  const first = new Map(commands.toReversed().map((command) => [shape(command), command]));
  const run = commands.filter((command) => first.get(shape(command)) === command);
  expect(run.length).toBeGreaterThanOrEqual(12);
  for (const command of run) {
    const line = Object.entries(values).reduce((text, [name, value]) => text.replaceAll(name, value), command);
    const env = { PATH: process.env["PATH"], NODE: process.execPath, BROKER };
    await promisify(execFile)("sh", ["-c", `"$NODE" "$BROKER" ${line}`], { cwd: company.folder, env });
  }
}, 60_000);
