import { Worker } from "node:worker_threads";
import type { SQLInputValue } from "node:sqlite";
import {
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type Kysely,
  type QueryResult,
} from "kysely";
import type { WorkerAnswer, WorkerCommand, WorkerRequest, WorkerSettings } from "./sqlite-worker.ts";

/** A failure of SQLite or of its file. `message` is a sentence for operators without any row's values. */
export class SqliteError extends Error {
  override readonly name = "SqliteError";
  /** Extended result code (sqlite.org/rescode.html), where it was SQLite that failed. */
  readonly errcode: number | undefined;
  /** Another file lies at the path than the one that was opened. */
  readonly replaced: boolean;

  constructor(message: string, errcode?: number, replaced = false) {
    super(message);
    this.errcode = errcode;
    this.replaced = replaced;
  }
}

/** Kysely over `node:sqlite` in a worker thread: one connection, owned by the thread for as long as it lives. */
export class SqliteWorkerDialect implements Dialect {
  readonly #settings: WorkerSettings;

  constructor(settings: WorkerSettings) {
    this.#settings = settings;
  }

  createDriver(): Driver {
    return new SqliteWorkerDriver(this.#settings);
  }

  createQueryCompiler(): SqliteQueryCompiler {
    return new SqliteQueryCompiler();
  }

  createAdapter(): SqliteAdapter {
    return new SqliteAdapter();
  }

  createIntrospector(db: Kysely<unknown>): SqliteIntrospector {
    return new SqliteIntrospector(db);
  }
}

class SqliteWorkerDriver implements Driver {
  readonly #thread: SqliteThread;
  readonly #connection: WorkerConnection;

  constructor(settings: WorkerSettings) {
    this.#thread = new SqliteThread(settings);
    this.#connection = new WorkerConnection(this.#thread);
  }

  init(): Promise<void> {
    return Promise.resolve();
  }

  acquireConnection(): Promise<DatabaseConnection> {
    return Promise.resolve(this.#connection);
  }

  async beginTransaction(): Promise<void> {
    await this.#thread.ask({ kind: "begin" });
  }

  async commitTransaction(): Promise<void> {
    await this.#thread.ask({ kind: "commit" });
  }

  async rollbackTransaction(): Promise<void> {
    try {
      await this.#thread.ask({ kind: "rollback" });
    } catch {
      // The error that led here is the one to tell. A connection that can't roll back is closed, which does it too.
      await this.#thread.ask({ kind: "close" }).catch(() => undefined);
    }
  }

  async releaseConnection(): Promise<void> {
    // There is one, and it stays.
  }

  async destroy(): Promise<void> {
    await this.#thread.end();
  }
}

class WorkerConnection implements DatabaseConnection {
  readonly #thread: SqliteThread;

  constructor(thread: SqliteThread) {
    this.#thread = thread;
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const answer = await this.#thread.ask({ kind: "query", sql, parameters: parameters as readonly SQLInputValue[] });
    return {
      rows: (answer.rows ?? []) as R[],
      ...(answer.changes !== undefined && { numAffectedRows: BigInt(answer.changes) }),
    };
  }

  streamQuery(): never {
    throw new Error("queries of the ledger are read in pages, not as streams");
  }
}

/** The worker thread, started at first use and again after it died; answers come in the order of the questions. */
class SqliteThread {
  readonly #settings: WorkerSettings;
  readonly #asked = new Map<number, (answer: WorkerAnswer | Error) => void>();
  #worker: Worker | undefined;
  #nextId = 0;

  constructor(settings: WorkerSettings) {
    this.#settings = settings;
  }

  ask(command: WorkerCommand): Promise<WorkerAnswer> {
    const worker = (this.#worker ??= this.#start());
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#asked.set(id, (answer) => {
        this.#asked.delete(id);
        if (answer instanceof Error) reject(answer);
        else if (answer.error) reject(asSqliteError(answer.error));
        else resolve(answer);
      });
      worker.postMessage({ ...command, id } satisfies WorkerRequest);
    });
  }

  async end(): Promise<void> {
    if (!this.#worker) return;
    const worker = this.#worker;
    await this.ask({ kind: "close" });
    await worker.terminate();
  }

  #start(): Worker {
    // Beside this file under the same extension: .ts in a checkout, .js when built.
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const worker = new Worker(new URL(`./sqlite-worker.${extension}`, import.meta.url), {
      name: `ledger ${this.#settings.readOnly ? "reader" : "writer"}`,
      workerData: this.#settings,
      // What a statement leaves behind is small and soon gone; left to itself, V8 would let it grow to 64 MB a thread.
      resourceLimits: { maxYoungGenerationSizeMb: 8 },
    });
    worker.on("message", (answer: WorkerAnswer) => this.#asked.get(answer.id)?.(answer));
    worker.on("error", (error: Error) => {
      this.#lost(worker, error);
    });
    worker.on("exit", () => {
      this.#lost(worker, new SqliteError("the ledger's thread ended"));
    });
    return worker;
  }

  #lost(worker: Worker, error: Error): void {
    if (this.#worker === worker) this.#worker = undefined;
    for (const settle of [...this.#asked.values()]) settle(error);
  }
}

/** Primary result codes of SQLite (sqlite.org/rescode.html) that operators meet. */
const SENTENCES: Readonly<Record<number, string>> = {
  5: "another process holds the ledger's lock",
  8: "the ledger's file is read-only",
  10: "the disk failed while the ledger was read or written",
  11: "the ledger's file is damaged",
  13: "the disk is full",
  14: "the ledger's file can't be opened",
  26: "the file at the ledger's path is not a ledger",
};

function asSqliteError({ message, errcode, replaced }: NonNullable<WorkerAnswer["error"]>): SqliteError {
  const sentence = errcode === undefined ? undefined : SENTENCES[errcode & 0xff];
  return new SqliteError(sentence === undefined ? message : `${sentence} (SQLite: ${message})`, errcode, replaced);
}
