import type { PostgresCursor, PostgresPool, PostgresPoolClient, PostgresQueryResult } from "kysely";
import { Pool, TypeOverrides, type PoolClient, type PoolConfig } from "pg";
import { asPostgresError, PostgresError } from "./postgres-error.ts";
import { parsePostgresUrl } from "./postgres-url.ts";

/** PostgreSQL's type `bigint`, which pg gives as text: the ledger's numbers are all safe integers. */
const INT8 = 20;

/** A connection or a lock is never waited for longer, however patient the rest is (milliseconds). */
const MOST_PATIENCE = 10_000;

/**
 * Connections to the PostgreSQL at `url`, of which nobody waits longer than `deadlineMs` for a transaction or a query:
 * the server gives up first, so that it can say why; if it is not heard of at all, the connection is closed. Made anew
 * at need, so that it recovers by itself. Throws where the URL or a file that it names can't be read.
 */
export function postgresPool(url: string, connections: number, deadlineMs: number): PostgresPool {
  const leaseMs = Math.floor(deadlineMs * 0.9);
  const waitMs = Math.floor(Math.min(deadlineMs * 0.75, MOST_PATIENCE));
  const options: PoolConfig = {
    ...parsePostgresUrl(url),
    application_name: "rolecall",
    max: connections,
    connectionTimeoutMillis: waitMs,
    lock_timeout: waitMs,
    statement_timeout: Math.floor(deadlineMs * 0.85),
    // A broker that was frozen, or cut off, in the middle of a transaction must not keep the log's lock.
    idle_in_transaction_session_timeout: leaseMs,
    keepAlive: true,
    types: numbersForBigints(),
  };
  const pool = new Pool(options);
  // A connection that breaks while nobody uses it is taken out of the pool, and nothing more needs doing.
  pool.on("error", () => undefined);
  return {
    options,
    connect: async () => {
      try {
        return new Lease(await pool.connect(), leaseMs);
      } catch (error) {
        throw asPostgresError(error);
      }
    },
    end: () => pool.end(),
  };
}

function numbersForBigints(): TypeOverrides {
  const types = new TypeOverrides();
  types.setTypeParser(INT8, Number);
  return types;
}

/** A connection while it is somebody's, at most until its time is over. One that failed in any way is not used again. */
class Lease implements PostgresPoolClient {
  readonly #client: PoolClient;
  readonly #timer: NodeJS.Timeout;
  #failure: PostgresError | undefined;

  constructor(client: PoolClient, leaseMs: number) {
    this.#client = client;
    client.on("error", this.#fail);
    this.#timer = setTimeout(() => {
      this.#fail(new PostgresError(`PostgreSQL did not answer within ${leaseMs} ms`));
      void client.end();
    }, leaseMs);
  }

  query<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>>;
  query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>;
  query<R>(
    query: string | PostgresCursor<R>,
    parameters: readonly unknown[] = [],
  ): Promise<PostgresQueryResult<R>> | PostgresCursor<R> {
    if (typeof query !== "string") throw new Error("queries of the ledger are read in pages, not with cursors");
    return this.#ask(query, parameters);
  }

  release(): void {
    clearTimeout(this.#timer);
    this.#client.off("error", this.#fail);
    this.#client.release(this.#failure !== undefined);
  }

  async #ask<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>> {
    if (this.#failure) {
      // Closing the connection rolls back too, and what failed first is what is to be told.
      if (sql === "rollback") return { command: "ROLLBACK", rowCount: 0, rows: [] };
      throw this.#failure;
    }
    try {
      return (await this.#client.query(sql, [...parameters])) as unknown as PostgresQueryResult<R>;
    } catch (error) {
      throw this.#fail(error);
    }
  }

  /** The first failure is the one that explains the others. */
  readonly #fail = (error: unknown): PostgresError => (this.#failure ??= asPostgresError(error));
}
