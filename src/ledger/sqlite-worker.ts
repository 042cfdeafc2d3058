import { accessSync, constants, statSync, type BigIntStats } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";

/**
 * The thread that owns one connection to the ledger's file, so that a lock or a slow disk stalls this thread and not
 * the process. It knows files and SQL, nothing of the log.
 */
export interface WorkerSettings {
  readonly file: string;
  readonly readOnly: boolean;
  /** How long a statement waits for another process's lock (milliseconds). */
  readonly busyTimeoutMs: number;
}

/** `begin` takes the write lock after the file has been checked; `rollback` always leaves no transaction open. */
export type WorkerCommand =
  | { readonly kind: "query"; readonly sql: string; readonly parameters: readonly SQLInputValue[] }
  | { readonly kind: "begin" | "commit" | "rollback" | "close" };

export type WorkerRequest = WorkerCommand & { readonly id: number };

export interface WorkerAnswer {
  readonly id: number;
  readonly rows?: unknown[];
  /** Rows changed, where the statement was not a query. */
  readonly changes?: number | bigint;
  readonly error?: {
    readonly message: string;
    readonly errcode: number | undefined;
    /** Another file lies at the path than the one that this thread has open. */
    readonly replaced: boolean;
  };
}

/** SQLite's primary result codes that say nothing against the connection (sqlite.org/rescode.html). */
const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;
const SQLITE_CONSTRAINT = 19;

const { file, readOnly, busyTimeoutMs } = workerData as WorkerSettings;

class Replaced extends Error {}

let connection: DatabaseSync | undefined;
/** The files as they were when this thread last used them, by which it sees what others did to them. */
let seen: { readonly file: BigIntStats; readonly wal: BigIntStats | undefined } | undefined;
/** What the connection has read must not be trusted any more. */
let stale = false;

parentPort?.on("message", (request: WorkerRequest) => {
  parentPort?.postMessage({ id: request.id, ...answer(request) });
});

function answer(command: WorkerCommand): Omit<WorkerAnswer, "id"> {
  try {
    return carryOut(command);
  } catch (error) {
    const { message, errcode } = error as { message: string; errcode?: number };
    // After anything of SQLite's that is worse than a lock, a full disk or a broken rule, start again from the file.
    if (errcode !== undefined && ![SQLITE_BUSY, SQLITE_FULL, SQLITE_CONSTRAINT].includes(errcode & 0xff)) stale = true;
    return { error: { message, errcode, replaced: error instanceof Replaced } };
  }
}

function carryOut(command: WorkerCommand): Omit<WorkerAnswer, "id"> {
  switch (command.kind) {
    case "begin":
      current().exec("begin immediate");
      return {};
    case "commit":
      requireOpen().exec("commit");
      // A commit may have moved the write-ahead log into the file: what they look like now is our own doing.
      seen = { file: statOurFile(), wal: statWal() };
      return {};
    case "rollback":
      if (connection?.isTransaction) connection.exec("rollback");
      return {};
    case "close":
      close();
      return {};
    case "query":
      return query(connection?.isTransaction ? connection : current(), command.sql, command.parameters);
  }
}

function query(db: DatabaseSync, sql: string, parameters: readonly SQLInputValue[]): Omit<WorkerAnswer, "id"> {
  const statement = db.prepare(sql);
  if (statement.columns().length > 0) return { rows: statement.all(...parameters) };
  return { changes: statement.run(...parameters).changes };
}

/**
 * The connection to our file at its path. Opened again when somebody else wrote to it (another broker's checkpoint,
 * or a hand): pages that were read before must not be trusted then.
 */
function current(): DatabaseSync {
  const file = statOurFile();
  if (!readOnly) requireWritable(file);
  if (seen && file.size < seen.file.size) throw new Error("the ledger's file has been cut short");
  if (!readOnly && seen?.file.mtimeNs !== file.mtimeNs) stale = true;
  if (connection && seen?.wal && !isSameFile(seen.wal, statWal())) leaveLostWal(connection);
  if (stale || !connection) reopen();
  seen = { file, wal: statWal() };
  return requireOpen();
}

/**
 * The write-ahead log was removed under us. This connection still has it: what it holds goes into the ledger's file,
 * as far as that lies to a writer, before another log is begun.
 */
function leaveLostWal(db: DatabaseSync): void {
  const result = readOnly ? undefined : db.prepare("pragma wal_checkpoint(truncate)").get();
  if (result?.["busy"] === 1) throw new Error("the ledger's write-ahead log is missing");
  stale = true;
}

/**
 * The new connection comes before the old one goes: the last one to close moves the write-ahead log into the file,
 * which must not happen to a file that may be damaged.
 */
function reopen(): void {
  const old = connection;
  connection = open();
  stale = false;
  old?.close();
}

function requireOpen(): DatabaseSync {
  if (!connection) throw new Error("the connection was lost");
  return connection;
}

function isSameFile(a: BigIntStats, b: BigIntStats | undefined): boolean {
  return a.dev === b?.dev && a.ino === b.ino;
}

/** The file at the path, if it is the one that is open. SQLite itself would go on writing to one that was moved away. */
function statOurFile(): BigIntStats {
  const stats = statSync(file, { bigint: true, throwIfNoEntry: false });
  if (!stats) throw new Error("the ledger's file is missing");
  if (!stats.isFile()) throw new Error("what lies at the ledger's path is not a file");
  if (seen && !isSameFile(seen.file, stats)) throw new Replaced("another file lies at the ledger's path");
  return stats;
}

function statWal(): BigIntStats | undefined {
  return statSync(`${file}-wal`, { bigint: true, throwIfNoEntry: false });
}

/** A file without a write bit counts as unwritable even for root, whom the kernel would let through. */
function requireWritable(stats: BigIntStats): void {
  if ((stats.mode & 0o222n) === 0n) throw new Error("the ledger's file is not writable");
  const folder = dirname(file);
  if ((statSync(folder).mode & 0o222) === 0) throw new Error("the ledger's folder is not writable");
  try {
    accessSync(file, constants.W_OK);
    accessSync(folder, constants.W_OK);
  } catch {
    throw new Error("the ledger's file or its folder is not writable");
  }
}

function open(): DatabaseSync {
  const db = new DatabaseSync(file, { readOnly, timeout: busyTimeoutMs, enableForeignKeyConstraints: true });
  try {
    if (!readOnly) {
      keepWriteAheadLog(db);
      db.exec("pragma synchronous = full");
    }
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/**
 * Of two processes that open a new file at once, the later can find it locked while the first changes its mode, a lock
 * that SQLite does not always wait for by itself (sqlite.org/c3ref/busy_handler.html).
 */
function keepWriteAheadLog(db: DatabaseSync): void {
  const patience = Date.now() + busyTimeoutMs;
  for (;;) {
    try {
      db.exec("pragma journal_mode = wal");
      return;
    } catch (error) {
      const busy = error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY;
      if (!busy || Date.now() > patience) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

function close(): void {
  const db = connection;
  connection = undefined;
  try {
    db?.close();
  } catch {
    // A connection that can't be closed cleanly is given up; what was committed lies in the write-ahead log.
  }
}
