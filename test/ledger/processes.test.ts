import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { LedgerPlace } from "../../src/ledger/place.ts";
import { startChild } from "../support/ledger-child.ts";
import { CHECKPOINT_KEY, entriesAt, temporaryFolder, verifyAt } from "../support/ledger.ts";
import { startPostgres, type TestPostgres } from "../support/postgres.ts";

let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres();
});

afterAll(async () => {
  await postgres.remove();
});

type Bench = () => Promise<{ place: LedgerPlace; remove: () => Promise<void> | void }>;

const onSqlite: Bench = () => {
  const { folder, remove } = temporaryFolder();
  return Promise.resolve({ place: { file: join(folder, "ledger.db") }, remove });
};

const onPostgres: Bench = async () => {
  const database = await postgres.database();
  return { place: { url: database.broker }, remove: () => database.drop() };
};

describe.each([
  ["SQLite", onSqlite],
  ["PostgreSQL", onPostgres],
])("several processes with one ledger on %s", (_, makeBench) => {
  let place: LedgerPlace;
  let remove: () => Promise<void> | void;

  beforeEach(async () => {
    ({ place, remove } = await makeBench());
  });

  afterEach(async () => {
    await remove();
  });

  it("never give one session name to two people (law 3)", async () => {
    const people = 100;
    const children = await Promise.all(["a", "b"].map((name) => startChild(place, "bind", name, String(people))));
    for (const child of children) child.go();
    const results = await Promise.all(children.map(async (child) => (await child.lines.next()).value as string[]));
    await Promise.all(children.map((child) => child.kill()));
    for (let i = 0; i < people; i += 1) {
      expect(results.map((result) => result[i]).toSorted(), `person ${i}`).toEqual([
        "email_taken",
        `person${i}@acme.example`,
      ]);
    }
    const bound = (await entriesAt(place)).filter(({ type }) => type === "identity.bound");
    expect(new Set(bound.map(({ sessionName }) => sessionName)).size).toBe(people);
    expect(bound).toHaveLength(people);
    await verifyAt(place);
  });

  it("lose nothing that was said to be written when one is killed in the middle (kill -9)", async () => {
    let said = 0;
    for (const [round, rows] of [3, 40, 111, 200, 17].entries()) {
      const [child, other] = await Promise.all([
        startChild(place, "append", `a${round}`),
        startChild(place, "append", `b${round}`),
      ]);
      for (let i = 0; i < rows; i += 1) said = Math.max(said, Number((await child.lines.next()).value));
      await Promise.all([child.kill(), other.kill()]);
      const report = await verifyAt(place);
      expect(report.rows).toBeGreaterThanOrEqual(said);
    }
  });
});

describe("a process with a ledger in a file", () => {
  it("refuses on a full disk, and goes on when there is room again", () => {
    const { folder, remove } = temporaryFolder();
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
    remove();
  });
});
