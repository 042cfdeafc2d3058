import { closeSync, openSync, truncateSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { CommandFailure } from "./failure.ts";
import { errorCode } from "./private-file.ts";

/** Result codes of SQLite (https://sqlite.org/rescode.html). */
const SQLITE_BUSY = 5;
const SQLITE_NOTADB = 26;

const POLL_MILLISECONDS = 40;

export interface LockWait {
  /** After so long the failure `timedOut` is thrown. */
  readonly seconds: number;
  readonly timedOut: string;
  /** Called once, when somebody else holds the lock. */
  readonly onWait?: () => void;
}

/**
 * What `work` returns, done by one process at a time for one lock file. The lock is SQLite's exclusive lock on an
 * empty database, which is the operating system's: it ends with the process that holds it, however that ends, so
 * nobody ever has to judge whether a lock is stale. Nothing is written to the file.
 */
export async function withLock<T>(file: string, wait: LockWait, work: () => Promise<T>): Promise<T> {
  const lock = await acquire(file, wait);
  try {
    return await work();
  } finally {
    lock.close();
  }
}

async function acquire(file: string, wait: LockWait): Promise<DatabaseSync> {
  const sqlite = await import("node:sqlite");
  makeFile(file);
  const deadline = performance.now() + wait.seconds * 1000;
  for (let waited = false; ; waited = true) {
    const database = new sqlite.DatabaseSync(file, { timeout: 0 });
    const code = tryLock(database);
    if (code === undefined) return database;
    database.close();
    // Emptied in place, never replaced: two processes must not hold locks on two files of one name.
    if (code === SQLITE_NOTADB) truncateSync(file);
    else if (code !== SQLITE_BUSY) throw noLock(file, `SQLite error ${code}`);
    if (!waited) wait.onWait?.();
    if (performance.now() > deadline) throw new CommandFailure(wait.timedOut, { hint: "try again in a minute" });
    await sleep(POLL_MILLISECONDS);
  }
}

function makeFile(file: string): void {
  try {
    closeSync(openSync(file, "a", 0o600));
  } catch (error) {
    throw noLock(file, errorCode(error) ?? "unexpected error");
  }
}

/** SQLite lays a journal beside the file even for a lock, so that a full disk is a reason too. */
function noLock(file: string, why: string): CommandFailure {
  return new CommandFailure(`the lock ${file} cannot be taken: ${why}`, {
    hint: "check the folder's permissions and the free space on its disk",
  });
}

/** Undefined where the lock is taken now, else SQLite's result code. */
function tryLock(database: DatabaseSync): number | undefined {
  try {
    database.exec("BEGIN EXCLUSIVE");
    return undefined;
  } catch (error) {
    // The low byte is the primary code.
    if (error instanceof Error && "errcode" in error && typeof error.errcode === "number") return error.errcode & 0xff;
    throw error;
  }
}
