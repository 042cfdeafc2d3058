import { sql, type Kysely } from "kysely";

/**
 * The ledger's tables, the same for every database: SQLite's are made below, PostgreSQL's by
 * templates/postgres/ledger.sql. Hashes and salts are lower-case hex.
 */
export interface LedgerTables {
  /** The log: one row an event. */
  rows: {
    /** From 1, without a gap: the leaf's index in the tree, plus one. */
    seq: number;
    type: string;
    request_id: string | null;
    time: string;
    /** Canonical JSON; the columns beside it repeat what is searched for. */
    row: string;
    leaf_hash: string;
  };
  /** What tells who somebody is; a record may be erased, the row's digest of it stays. */
  personal: {
    seq: number;
    salt: string;
    record: string;
  };
  /** Hashes of the full subtrees above the leaves. */
  nodes: {
    level: number;
    idx: number;
    hash: string;
  };
  /**
   * Whose session name is whose (law 3): each row says that a name is an account's from then on. A name's latest row
   * counts, and is its account's name only while it is that account's latest row too.
   */
  people: {
    /** The row that says so. */
    seq: number;
    directory: string;
    subject: string;
    session_name: string;
    /** 1 for the first who has the name, and one more each time that it moves. */
    generation: number;
    /** Of the row's `owner`. */
    salt: string;
  };
  /** What was revoked, and of whom that was lifted again. */
  revocations: {
    /** The row that says so. */
    seq: number;
    /** As flow/holder.ts writes it. */
    target: string;
    effect: "revoked" | "lifted";
    /** Of the row's `revocation`. */
    salt: string;
  };
  meta: {
    key: string;
    value: string;
  };
}

export type LedgerReader = Kysely<LedgerTables>;

/** Version of the tables; a ledger with another one is refused rather than guessed at. */
const TABLES_VERSION = "3";

/**
 * Creates in SQLite what isn't there yet, and rejects where the tables are of another version. The two partial indexes
 * are the last word on law 1: one `credentials.requested` and one outcome a request, whoever writes. A row's number is
 * an `integer`: only such a primary key is the table's own order.
 */
export async function createTables(db: LedgerReader): Promise<void> {
  const { schema } = db;
  await schema
    .createTable("meta")
    .ifNotExists()
    .addColumn("key", "text", (column) => column.primaryKey())
    .addColumn("value", "text", (column) => column.notNull())
    .execute();
  await insertMeta(db);
  await requireTablesVersion(db);
  await schema
    .createTable("rows")
    .ifNotExists()
    .addColumn("seq", "integer", (column) => column.primaryKey())
    .addColumn("type", "text", (column) => column.notNull())
    .addColumn("request_id", "text")
    .addColumn("time", "text", (column) => column.notNull())
    .addColumn("row", "text", (column) => column.notNull())
    .addColumn("leaf_hash", "text", (column) => column.notNull())
    .execute();
  await schema
    .createTable("personal")
    .ifNotExists()
    .addColumn("seq", "integer", (column) => column.primaryKey().references("rows.seq"))
    .addColumn("salt", "text", (column) => column.notNull())
    .addColumn("record", "text", (column) => column.notNull())
    .execute();
  await schema
    .createTable("nodes")
    .ifNotExists()
    .addColumn("level", "integer", (column) => column.notNull())
    .addColumn("idx", "integer", (column) => column.notNull())
    .addColumn("hash", "text", (column) => column.notNull())
    .addPrimaryKeyConstraint("nodes_place", ["level", "idx"])
    .execute();
  await createPeople(db);
  await createRequestIndexes(db);
}

/** A name's next generation can be written once, whoever writes. */
async function createPeople({ schema }: LedgerReader): Promise<void> {
  await schema
    .createTable("people")
    .ifNotExists()
    .addColumn("seq", "integer", (column) => column.primaryKey().references("rows.seq"))
    .addColumn("directory", "text", (column) => column.notNull())
    .addColumn("subject", "text", (column) => column.notNull())
    .addColumn("session_name", "text", (column) => column.notNull())
    .addColumn("generation", "integer", (column) => column.notNull())
    .addColumn("salt", "text", (column) => column.notNull())
    .addUniqueConstraint("people_name", ["session_name", "generation"])
    .execute();
  await schema
    .createIndex("people_person")
    .ifNotExists()
    .on("people")
    .columns(["directory", "subject", "seq"])
    .execute();
  await schema
    .createTable("revocations")
    .ifNotExists()
    .addColumn("seq", "integer", (column) => column.primaryKey().references("rows.seq"))
    .addColumn("target", "text", (column) => column.notNull())
    .addColumn("effect", "text", (column) => column.notNull())
    .addColumn("salt", "text", (column) => column.notNull())
    .execute();
  await schema.createIndex("revocations_target").ifNotExists().on("revocations").column("target").execute();
}

async function insertMeta(db: LedgerReader): Promise<void> {
  await db
    .insertInto("meta")
    .values([
      { key: "version", value: TABLES_VERSION },
      // Rewritten to see whether the database takes a write.
      { key: "probe", value: "" },
    ])
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Rejects where the tables are of another version than this program knows. */
export async function requireTablesVersion(db: LedgerReader): Promise<void> {
  const { value } = await db.selectFrom("meta").select("value").where("key", "=", "version").executeTakeFirstOrThrow();
  if (value !== TABLES_VERSION) {
    throw new Error(`the ledger's tables have the version ${value}, and this Rolecall knows ${TABLES_VERSION}`);
  }
}

async function createRequestIndexes({ schema }: LedgerReader): Promise<void> {
  const index = (name: string) => schema.createIndex(name).ifNotExists().on("rows").column("request_id");
  await index("rows_request").execute();
  await index("one_request")
    .unique()
    .where(sql<boolean>`type = 'credentials.requested'`)
    .execute();
  await index("one_outcome")
    .unique()
    .where(sql<boolean>`type in ('credentials.issued', 'credentials.failed')`)
    .execute();
  // Few among many rows: operators look there for who was refused a name.
  await schema
    .createIndex("rows_denied")
    .ifNotExists()
    .on("rows")
    .column("seq")
    .where(sql<boolean>`type = 'login.denied'`)
    .execute();
}
