import type { Client } from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openLedger, type Ledger } from "../../src/ledger/ledger.ts";
import { leafHash, MerkleTree } from "../../src/ledger/merkle.ts";
import { CHECKPOINT_KEY, boundEvent, entriesAt, issued, requested, verifyAt } from "../support/ledger.ts";
import { recordingLog } from "../support/log.ts";
import { startPostgres, type TestDatabase, type TestPostgres } from "../support/postgres.ts";
import { startProxy, type Passage, type TcpProxy } from "../support/tcp-proxy.ts";

/** What the faults are made with. */
interface Surroundings {
  readonly postgres: TestPostgres;
  readonly database: TestDatabase;
  readonly proxy: TcpProxy;
  /** Sessions of somebody else's, which end with the test. */
  readonly sessions: Client[];
}

interface Fault {
  /** May answer with a promise, which is waited for. */
  readonly break: (around: Surroundings) => unknown;
  readonly mend: (around: Surroundings) => unknown;
  readonly says: RegExp;
}

let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres();
});

afterAll(async () => {
  await postgres.remove();
});

/** Somebody else's transaction, open until the sessions end. */
async function begin({ database, sessions }: Surroundings, ...statements: string[]): Promise<void> {
  const session = await database.session();
  sessions.push(session);
  for (const statement of ["begin", ...statements]) await session.query(statement);
}

async function endSessions({ sessions }: Surroundings): Promise<void> {
  await Promise.all(sessions.splice(0).map((session) => session.end()));
}

/** As who owns the server can: no trigger and no foreign key stands in the way. */
async function attack({ database }: Surroundings, ...statements: string[]): Promise<void> {
  const session = await database.session();
  await session.query("set session_replication_role = replica");
  for (const statement of statements) await session.query(statement);
  await session.end();
}

const endConnections = ({ database }: Surroundings): Promise<unknown> =>
  database.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'broker'");

/** The tree is made to fit the rows as they are now. */
async function rebuildTree(around: Surroundings): Promise<void> {
  const tree = new MerkleTree();
  const rows = await around.database.query("select row from rows order by seq");
  const nodes = rows.flatMap(({ row }) => tree.append(leafHash(String(row))));
  const values = nodes.map(({ level, index, hash }) => `(${level}, ${index}, '${hash.toString("hex")}')`);
  await attack(around, "delete from nodes", `insert into nodes values ${values.join(",")}`);
}

const KEEP = ["rows", "personal", "nodes"].map((table) => `create table kept_${table} as select * from ${table}`);
const GIVE_BACK = ["rows", "personal", "nodes"].flatMap((table) => [
  `delete from ${table}`,
  `insert into ${table} select * from kept_${table}`,
]);

const FAULTS: Readonly<Record<string, Fault>> = {
  "the server is stopped": {
    break: () => postgres.stop("fast"),
    mend: () => postgres.start(),
    says: /can't be reached|is stopping/,
  },
  "the server crashes": {
    break: () => postgres.stop("crash"),
    mend: () => postgres.start(),
    says: /can't be reached|57P02/,
  },
  "the network is silent": {
    break: ({ proxy }) => {
      proxy.freeze();
    },
    mend: ({ proxy }) => {
      proxy.thaw();
    },
    says: /did not answer/,
  },
  "the network is cut": {
    break: ({ proxy }) => proxy.cut(),
    mend: ({ proxy }) => proxy.open(),
    says: /can't be reached/,
  },
  "somebody else holds the log's lock": {
    break: (around) => begin(around, "select pg_advisory_xact_lock(8245928625453493356)"),
    mend: endSessions,
    says: /another session holds the ledger's lock/,
  },
  "somebody else holds a table": {
    break: (around) => begin(around, "lock table rows in share row exclusive mode"),
    mend: endSessions,
    says: /another session holds the ledger's lock/,
  },
  "the broker's role has lost its right": {
    break: ({ database }) => database.query("revoke insert on rows from broker"),
    mend: ({ database }) => database.query("grant insert on rows to broker"),
    says: /the broker's role lacks a right/,
  },
  "the broker's role may not come in any more": {
    break: async (around) => {
      await around.database.query("alter role broker nologin");
      await endConnections(around);
    },
    mend: ({ database }) => database.query("alter role broker login"),
    says: /does not let the broker's role in|is stopping/,
  },
  "the database takes no writes, as a standby": {
    break: async (around) => {
      await around.database.query(`alter database ${around.database.name} set default_transaction_read_only = on`);
      await endConnections(around);
    },
    mend: async ({ database }) => {
      const session = await database.session();
      await session.query("set default_transaction_read_only = off");
      await session.query(`alter database ${database.name} reset default_transaction_read_only`);
      await session.end();
    },
    says: /takes no writes|is stopping/,
  },
  "a table is gone": {
    break: ({ database }) => database.query("alter table nodes rename to gone"),
    mend: ({ database }) => database.query("alter table gone rename to nodes"),
    says: /the ledger's tables are not there/,
  },
  "its last row was removed by another hand": {
    break: (around) => attack(around, ...KEEP, "delete from rows where seq = (select max(seq) from rows)"),
    mend: (around) => attack(around, ...GIVE_BACK),
    says: /does not continue the record that this broker has written: row \d+ is missing/,
  },
  "an older state was restored": {
    break: (around) =>
      attack(around, ...KEEP, ...["rows", "personal"].map((table) => `delete from ${table} where seq > 5`)),
    mend: (around) => attack(around, ...GIVE_BACK),
    says: /does not continue the record that this broker has written: row \d+ is missing/,
  },
  "its last row was changed by another hand": {
    break: (around) =>
      attack(around, ...KEEP, "update rows set leaf_hash = 'x' where seq = (select max(seq) from rows)"),
    mend: (around) => attack(around, ...GIVE_BACK),
    says: /row \d+ is another one/,
  },
  "its past was changed and rebuilt whole": {
    break: async (around) => {
      const forged = `replace(row, '"seq":5', '"actor":"x","seq":5')`;
      await attack(around, ...KEEP, `update rows set row = ${forged} where seq = 5`);
      await rebuildTree(around);
    },
    mend: (around) => attack(around, ...GIVE_BACK),
    says: /is another log/,
  },
};

describe("no record, no credentials: PostgreSQL broken at every step (law 1)", () => {
  let around: Surroundings;
  let ledger: Ledger;
  let place: { url: string };
  const opened: Ledger[] = [];
  const jane = { directory: "okta", subject: "00u1", email: "jane@acme.example" };
  const options = { checkpointKey: CHECKPOINT_KEY, log: recordingLog(), deadlineMs: 1000 };

  const open = async (url: string, deadlineMs = options.deadlineMs): Promise<Ledger> => {
    const another = await openLedger({ ...options, url, deadlineMs });
    opened.push(another);
    return another;
  };
  const rows = async () => (await entriesAt(place)).filter(({ type }) => type !== "checkpoint");

  beforeEach(async () => {
    const database = await postgres.database();
    const proxy = await startProxy(postgres.port);
    around = { postgres, database, proxy, sessions: [] };
    place = { url: database.broker };
    ledger = await open(database.broker.replace(`:${postgres.port}/`, `:${proxy.port}/`));
    await ledger.bind(jane, "jane@acme.example", boundEvent(jane, "jane@acme.example"));
    for (let i = 0; i < 9; i += 1) await ledger.append(requested(`before-${i}`));
  });

  afterEach(async () => {
    await endSessions(around);
    await Promise.all(opened.splice(0).map((each) => each.close()));
    await around.proxy.cut();
    await around.database.drop();
  });

  it.each(Object.entries(FAULTS))("%s: refuses while it lasts, works again after, no restart", async (_, fault) => {
    const before = (await ledger.append(requested("last"))).seq;
    await fault.break(around);
    const refusals = await Promise.allSettled([
      ledger.append(issued("last")),
      ledger.append(requested("new")),
      ledger.bind({ ...jane, subject: "00u2" }, "john@acme.example", boundEvent(jane, "john@acme.example")),
    ]);
    for (const refusal of refusals) {
      expect(refusal).toMatchObject({ status: "rejected", reason: { code: "ledger_unavailable" } });
      const { message } = (refusal as PromiseRejectedResult).reason as Error;
      expect(message).toMatch(fault.says);
      expect(message).not.toMatch(/hunter2|postgres:\/\//);
    }
    expect(await ledger.state()).toMatchObject({ writable: false });

    await fault.mend(around);
    expect(await ledger.sessionNameOf(jane)).toBe("jane@acme.example");
    expect(await ledger.append(issued("last"))).toEqual({ seq: before + 1 });
    expect(await ledger.state()).toEqual({ writable: true });
    await verifyAt(place);
    const ids = (await rows()).map(({ requestId }) => requestId);
    expect(ids.slice(-2)).toEqual(["last", "last"]);
    expect(ids).not.toContain("new");
  });

  const STEPS: readonly [string, string][] = [
    ["the transaction's beginning", "start transaction"],
    ["the lock", "pg_advisory_xact_lock"],
    ["the look at our last row", 'select "leaf_hash" from "rows"'],
    ["the look at the tree", 'from "nodes"'],
    ["the look at the request", '"request_id" in'],
    ["the rows", 'insert into "rows"'],
    ["the personal records", 'insert into "personal"'],
    ["the tree's nodes", 'insert into "nodes"'],
    ["the commit", "commit\0"],
  ];
  const passages: readonly Passage[] = ["cut before", "cut after", "freeze"];
  const crashes = STEPS.flatMap(([what, text]) => passages.map((passage) => [passage, what, text] as const));

  it.each(crashes)("%s %s: an outcome is there once or not at all", async (passage, what, text) => {
    await ledger.append(requested("r", { email: "jane@acme.example" }));
    // An even number of rows, so that the outcome's row is followed by a node.
    if ((await rows()).length % 2 === 0) await ledger.append({ type: "login.succeeded", email: "jane@acme.example" });
    let met = 0;
    around.proxy.intercept = (bytes) => {
      if (!bytes.includes(text)) return "pass";
      met += 1;
      return passage;
    };
    const outcome = issued("r", { email: "jane@acme.example" });
    await expect(ledger.append(outcome)).rejects.toMatchObject({ code: "ledger_unavailable" });
    expect(met).toBeGreaterThan(0);
    around.proxy.intercept = () => "pass";

    const written = (await rows()).filter(({ type }) => type === "credentials.issued").length;
    expect(written).toBe(passage === "cut after" && what === "the commit" ? 1 : 0);
    // Whoever was told no and tries again gets one outcome at most.
    await ledger.append(outcome).catch(() => undefined);
    expect((await rows()).filter(({ type }) => type === "credentials.issued")).toHaveLength(1);
    await verifyAt(place);
  });

  it("a broker that is cut off in the middle of a transaction does not keep the lock from the others", async () => {
    around.proxy.intercept = (bytes) => (bytes.includes('insert into "rows"') ? "freeze" : "pass");
    const lost = expect(ledger.append(requested("lost"))).rejects.toMatchObject({ code: "ledger_unavailable" });
    const other = await open(place.url, 20_000);
    await other.append(requested("found"));
    await lost;
    expect((await rows()).map(({ requestId }) => requestId)).not.toContain("lost");
    await verifyAt(place);
  });

  it("long transactions of readers and backups stand in nobody's way", async () => {
    await begin(around, "set transaction isolation level serializable", "select count(*) from rows");
    await begin(around, "lock table rows, personal, nodes, people, revocations in access share mode");
    const appends = await Promise.all(Array.from({ length: 50 }, (_, i) => ledger.append(requested(`r${i}`))));
    expect(appends).toHaveLength(50);
    await verifyAt(place);
  });

  it("somebody else's unfinished claim to a name is waited for, and no longer than the deadline", async () => {
    const john = { directory: "okta", subject: "00u2", email: "john@acme.example" };
    const bind = () => ledger.bind(john, "john@acme.example", boundEvent(john, "john@acme.example"));
    await begin(around, "insert into people values (2, 'entra', 'x', 'john@acme.example', 1, 'salt')");
    await expect(bind()).rejects.toMatchObject({ code: "ledger_unavailable" });
    await endSessions(around);
    expect(await bind()).toBe("john@acme.example");
    await verifyAt(place);
  });

  it("a connection that an administrator ends in the middle of a transaction is made anew", async () => {
    await begin(around, "lock table rows in share row exclusive mode");
    const refused = expect(ledger.append(requested("r"))).rejects.toThrow(/is stopping|did not answer|lock/);
    const waiting = "select 1 from pg_stat_activity where usename = 'broker' and wait_event = 'relation'";
    while ((await around.database.query(waiting)).length === 0);
    await endConnections(around);
    await refused;
    await endSessions(around);
    expect(await ledger.append(requested("r"))).toEqual({ seq: 11 });
  });
});
