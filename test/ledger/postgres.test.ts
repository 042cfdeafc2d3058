import { Client } from "pg";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openLedger, type Ledger } from "../../src/ledger/ledger.ts";
import { readLedger } from "../../src/ledger/place.ts";
import {
  boundEvent,
  CHECKPOINT_KEY,
  entriesAt,
  issued,
  requested,
  temporaryFolder,
  verifyAt,
} from "../support/ledger.ts";
import { recordingLog } from "../support/log.ts";
import { makeTables, startPostgres, type TestDatabase, type TestPostgres } from "../support/postgres.ts";
import { ledgerConformance, type Bench } from "./conformance.ts";
import { peopleConformance } from "./conformance-people.ts";

const options = { checkpointKey: CHECKPOINT_KEY, log: recordingLog() };
let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres();
});

afterAll(async () => {
  await postgres.remove();
});

// As a role that may INSERT and SELECT only, and in a database whose defaults would break the order.
const makeBench = async (): Promise<Bench> => {
  const database = await postgres.database({ settings: "default_transaction_isolation = 'serializable'" });
  const place = { url: database.broker };
  return {
    place,
    open: (more) => openLedger({ ...place, ...options, deadlineMs: 20_000, ...more }),
    entries: () => entriesAt(place),
    remove: () => database.drop(),
  };
};

ledgerConformance("PostgreSQL", makeBench);
peopleConformance("PostgreSQL", makeBench);

const TABLES = ["meta", "rows", "personal", "nodes", "people", "revocations"];

async function runAs(url: string, sql: string): Promise<void> {
  const client = new Client(url);
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

describe("the ledger's tables in PostgreSQL", () => {
  let database: TestDatabase;
  let ledger: Ledger;

  beforeAll(async () => {
    database = await postgres.database();
    ledger = await openLedger({ url: database.broker, ...options });
    const jane = { directory: "okta", subject: "00u1", email: "jane@acme.example" };
    await ledger.bind(jane, "jane@acme.example", boundEvent(jane, "jane@acme.example"));
    await ledger.append(requested("r"));
    await ledger.append(issued("r"));
  });

  afterAll(async () => {
    await ledger.close();
  });

  const changes = TABLES.flatMap((table) => [
    `delete from ${table}`,
    `truncate ${table}`,
    `drop table ${table}`,
    `alter table ${table} add x text`,
    `update ${table} set ${table === "meta" ? "value = '2'" : table === "nodes" ? "hash = ''" : "seq = 9"}`,
  ]);
  it.each([
    ...changes,
    "insert into meta values ('x', 'x')",
    "create table other (x text)",
    "alter table rows disable trigger all",
    "create or replace function ledger_is_append_only() returns trigger language plpgsql as 'begin return null; end'",
    "set session_replication_role = replica",
  ])("are not the broker's to change: %s", async (statement) => {
    // Insufficient privilege; or "must be owner", which has the same code.
    await expect(runAs(database.broker, statement)).rejects.toMatchObject({ code: "42501" });
    expect((await verifyAt({ url: database.broker })).rows).toBeGreaterThan(2);
  });

  it.each(["update rows set type = 'x'", "delete from rows", "delete from nodes", "truncate rows cascade"])(
    "keep the record from the owner's mistakes: %s",
    async (statement) => {
      await expect(runAs(database.owner, statement)).rejects.toThrow(/append-only/);
    },
  );

  it("take one request and one outcome, whoever writes", async () => {
    const insert = (type: string): string => `insert into rows values (9, '${type}', 'r', '', '', '')`;
    await expect(runAs(database.broker, insert("credentials.requested"))).rejects.toThrow(/one_request/);
    await expect(runAs(database.broker, insert("credentials.failed"))).rejects.toThrow(/one_outcome/);
  });

  it("are those of SQLite, column by column", async () => {
    const { folder, remove } = temporaryFolder();
    const file = join(folder, "ledger.db");
    await (await openLedger({ file, ...options })).close();
    const describeTables = async (place: { file: string } | { url: string }) => {
      const db = await readLedger(place);
      const tables = await db.introspection.getTables();
      await db.destroy();
      return tables
        .map(
          ({ name, columns }) =>
            `${name}: ${columns
              .map((column) => column.name)
              .toSorted()
              .join(" ")}`,
        )
        .toSorted();
    };
    expect(await describeTables({ url: database.broker })).toEqual(await describeTables({ file }));
    remove();
  });

  it("may be made again, and stay as they are", async () => {
    makeTables(database.owner);
    await ledger.append(requested("after"));
    await verifyAt({ url: database.broker });
  });

  it("are written to the disk before the answer, also where the database's default is not to wait", async () => {
    const { broker } = await postgres.database({ settings: "synchronous_commit = off" });
    const hasty = await openLedger({ url: broker, ...options });
    await hasty.append(requested("kept"));
    await postgres.stop("crash");
    await postgres.start();
    expect((await entriesAt({ url: broker })).at(-1)).toMatchObject({ requestId: "kept" });
    await hasty.close();
  });
});

describe("a PostgreSQL that is no ledger is refused with a sentence", () => {
  const cases: [string, () => Promise<string>, RegExp][] = [
    ["no tables", async () => (await postgres.database({ tables: false })).broker, /tables are not there/],
    [
      "another version's",
      async () => {
        const database = await postgres.database();
        await database.query("update meta set value = '0' where key = 'version'");
        return database.broker;
      },
      /have the version 0/,
    ],
    [
      "another encoding",
      async () => (await postgres.database({ encoding: "SQL_ASCII" })).broker,
      /UTF8, not SQL_ASCII/,
    ],
    [
      "no right to read",
      async () => {
        const database = await postgres.database();
        await database.query("revoke select on meta from broker");
        return database.broker;
      },
      /lacks a right/,
    ],
    [
      "a wrong password",
      async () => (await postgres.database()).broker.replace("hunter2", "hunter3"),
      /does not take the role's password/,
    ],
    ["no such database", async () => `${(await postgres.database()).broker}-not`, /there is no such database/],
    ["nobody there", () => Promise.resolve("postgres://broker:hunter2@127.0.0.1:1/ledger"), /can't be reached/],
    [
      "a certificate's file that isn't there",
      () => Promise.resolve("postgres://b:hunter2@127.0.0.1:1/l?sslmode=verify-full&sslrootcert=/nowhere.pem"),
      /ENOENT.*nowhere.pem/,
    ],
  ];
  it.each(cases)("%s", async (_, url, message) => {
    const opening = openLedger({ url: await url(), ...options });
    await expect(opening).rejects.toMatchObject({
      code: "ledger_unavailable",
      message: expect.stringMatching(message) as string,
    });
    await expect(opening).rejects.not.toThrow(/hunter|postgres:\/\//);
  });
});
