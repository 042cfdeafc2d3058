import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startChild } from "../support/ledger-child.ts";
import { CHECKPOINT_KEY, entriesOf, temporaryFolder, verifyFile } from "../support/ledger.ts";

describe("several processes with one ledger", () => {
  let folder: string;
  let file: string;
  let remove: () => void;

  beforeEach(() => {
    ({ folder, remove } = temporaryFolder());
    file = join(folder, "ledger.db");
  });

  afterEach(() => {
    remove();
  });

  it("never give one session name to two people (law 3)", async () => {
    const people = 100;
    const children = await Promise.all(["a", "b"].map((name) => startChild(file, "bind", name, String(people))));
    for (const child of children) child.go();
    const results = await Promise.all(children.map(async (child) => (await child.lines.next()).value as string[]));
    await Promise.all(children.map((child) => child.kill()));
    for (let i = 0; i < people; i += 1) {
      expect(results.map((result) => result[i]).toSorted(), `person ${i}`).toEqual([
        "email_taken",
        `person${i}@acme.example`,
      ]);
    }
    const bound = (await entriesOf(file)).filter(({ type }) => type === "identity.bound");
    expect(new Set(bound.map(({ sessionName }) => sessionName)).size).toBe(people);
    expect(bound).toHaveLength(people);
    await verifyFile(file);
  });

  it("lose nothing that was said to be written when one is killed in the middle (kill -9)", async () => {
    let said = 0;
    for (const [round, rows] of [3, 40, 111, 200, 17].entries()) {
      const [child, other] = await Promise.all([
        startChild(file, "append", `a${round}`),
        startChild(file, "append", `b${round}`),
      ]);
      for (let i = 0; i < rows; i += 1) said = Math.max(said, Number((await child.lines.next()).value));
      await Promise.all([child.kill(), other.kill()]);
      const report = await verifyFile(file);
      expect(report.rows).toBeGreaterThanOrEqual(said);
    }
  });

  it("refuse on a full disk, and go on when there is room again", () => {
    const disk = join(folder, "disk");
    mkdirSync(disk);
    const child = fileURLToPath(new URL("child.ts", import.meta.url));
    const key = CHECKPOINT_KEY.privateKey.export({ format: "pem", type: "pkcs8" }).toString();
    // A small file system in a namespace of its own: gone with the process, and root is not needed.
    const script = 'mount -t tmpfs -o size=2m tmpfs "$1" && shift && exec "$@"';
    const node = [
      process.execPath,
      "--disable-warning=ExperimentalWarning",
      child,
      join(disk, "ledger.db"),
      key,
      "full",
    ];
    const output = execFileSync("unshare", ["-Urm", "sh", "-c", script, "sh", disk, ...node], { encoding: "utf8" });
    expect(JSON.parse(output)).toEqual({
      before: "written",
      full: [
        expect.stringMatching(/^ledger_unavailable: .*the disk is full/),
        expect.stringMatching(/^ledger_unavailable: .*the disk is full/),
        false,
      ],
      after: ["written", true],
    });
  });
});
