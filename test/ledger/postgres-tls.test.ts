import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openLedger } from "../../src/ledger/ledger.ts";
import { CHECKPOINT_KEY, requested } from "../support/ledger.ts";
import { recordingLog } from "../support/log.ts";
import { startPostgres, type TestDatabase, type TestPostgres } from "../support/postgres.ts";

describe("TLS to PostgreSQL, by the URL", () => {
  const options = { checkpointKey: CHECKPOINT_KEY, log: recordingLog() };
  let postgres: TestPostgres;
  let database: TestDatabase;

  beforeAll(async () => {
    postgres = await startPostgres({ tls: true });
    database = await postgres.database();
  });

  afterAll(async () => {
    await postgres.remove();
  });

  it("with the server's certificate and name checked", async () => {
    const byName = database.broker.replace("127.0.0.1", "localhost");
    const url = `${byName}?sslmode=verify-full&sslrootcert=${postgres.certificate}`;
    const ledger = await openLedger({ ...options, url });
    expect(await ledger.append(requested("r"))).toEqual({ seq: 1 });
    const connections = await database.query(
      "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'broker'",
    );
    expect(connections.length).toBeGreaterThan(0);
    expect(connections.every(({ ssl }) => ssl === true)).toBe(true);
    await ledger.close();
  });

  it.each<[string, (url: string) => string, RegExp]>([
    ["a certificate that nobody vouches for", (url) => `${url}?sslmode=verify-full`, /self-signed/],
    [
      "another name",
      (url) => `${url.replace("localhost", "127.0.0.1")}?sslmode=verify-full&sslrootcert=${postgres.certificate}`,
      /altnames|Hostname/,
    ],
    ["a server that wants it, without", (url) => `${url}?sslmode=disable`, /does not let the broker's role in/],
  ])("is refused for %s", async (_, edit, message) => {
    const url = edit(database.broker.replace("127.0.0.1", "localhost"));
    await expect(openLedger({ ...options, url })).rejects.toMatchObject({
      code: "ledger_unavailable",
      message: expect.stringMatching(message) as string,
    });
  });

  it("is refused by a server that has none, rather than left out", async () => {
    const plain = await startPostgres();
    const { broker } = await plain.database();
    const url = `${broker}?sslmode=verify-full`;
    await expect(openLedger({ ...options, url })).rejects.toThrow(/does not support SSL/);
    await plain.remove();
  });
});
