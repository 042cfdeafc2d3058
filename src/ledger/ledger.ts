import { Refusal } from "../flow/errors.ts";
import { targetOf, type Holder } from "../flow/holder.ts";
import type { PeopleRegister } from "../flow/people.ts";
import type { LedgerPort, Log } from "../flow/ports.ts";
import type { RevocationLedger } from "../flow/revocation.ts";
import { writeBatch, type WriteRequest, type WriteResult } from "./batch.ts";
import type { CheckpointKey } from "./checkpoint.ts";
import type { LedgerDatabase } from "./database.ts";
import { describePlace, openDatabase, type LedgerPlace } from "./place.ts";
import { findGrant, findSignIn, listNewcomers, listPeople, listRevocations } from "./register.ts";
import { SharedReading } from "./shared-reading.ts";
import { Sweep } from "./sweep.ts";
import type { LedgerReader } from "./tables.ts";
import type { TreeEnd } from "./tree-store.ts";
import { WriteQueue } from "./write-queue.ts";

/** How often requests without an outcome are looked for and a checkpoint is made (milliseconds). */
const ROUND = 60_000;
/** A checkpoint comes earlier when so many rows have been written since. */
const ROWS_A_CHECKPOINT = 1000;

/** How long a caller waits at most, if nothing else is said (milliseconds). */
const DEADLINE = 2000;

export interface LedgerOptions {
  /** Left out: it makes no checkpoints, for a command beside a broker that does. */
  readonly checkpointKey?: CheckpointKey | undefined;
  readonly log: Log;
  /** How long a caller waits at most (milliseconds); default 2000. */
  readonly deadlineMs?: number;
  /** Epoch milliseconds; default: the machine's clock. */
  readonly now?: () => number;
}

export interface Ledger extends LedgerPort, PeopleRegister, RevocationLedger {
  /** Whether an append would work now, by a write that adds no row; `reason` is a sentence for operators. */
  state(): Promise<{ writable: true } | { writable: false; reason: string }>;
  /** Closes requests that were given up; resolves with how many. Also done at start and every minute. */
  sweep(): Promise<number>;
  /** The signed note if anything was written since the last one. Also made every minute and every 1,000 rows. */
  checkpoint(): Promise<string | undefined>;
  /** Waits for what is on its way, makes a last checkpoint and lets go of the database. Later calls are refused. */
  close(): Promise<void>;
}

/**
 * The ledger at its place, made if that is an SQLite file which isn't there. Rejects with Refusal `ledger_unavailable`
 * where it can't be opened; once open, it survives every fault of the disk, the database and the network: calls are
 * refused while it lasts, and work again after.
 */
export async function openLedger(options: LedgerOptions & LedgerPlace): Promise<Ledger> {
  try {
    const database = await openDatabase(options, options.deadlineMs ?? DEADLINE);
    const ledger = new RunningLedger(database, options);
    await ledger.start();
    return ledger;
  } catch (error) {
    throw unavailable(`the ledger ${describePlace(options)} can't be opened`, error);
  }
}

class RunningLedger implements Ledger {
  readonly #database: LedgerDatabase;
  readonly #key: CheckpointKey | undefined;
  readonly #log: Log;
  readonly #now: () => number;
  readonly #deadlineMs: number;
  readonly #queue: WriteQueue;
  readonly #registry = new SharedReading((query) => this.#read(query));
  readonly #sweep = new Sweep();
  /** The last row that this process wrote: the log must go on from there. */
  #end: TreeEnd | undefined;
  #rowsSinceCheckpoint = 0;
  #failing = false;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(database: LedgerDatabase, { checkpointKey, log, deadlineMs = DEADLINE, now = Date.now }: LedgerOptions) {
    this.#database = database;
    this.#key = checkpointKey;
    this.#log = log;
    this.#now = now;
    this.#deadlineMs = deadlineMs;
    this.#queue = new WriteQueue((requests) => this.#write(requests), deadlineMs);
  }

  async start(): Promise<void> {
    await this.#round();
    this.#timer = setInterval(() => void this.#round(), ROUND);
  }

  async append(...[event, holder]: Parameters<LedgerPort["append"]>): Promise<{ seq: number }> {
    return { seq: (await this.#submit({ kind: "append", event, holder })) as number };
  }

  async bind(...[person, sessionName, event]: Parameters<LedgerPort["bind"]>): Promise<string> {
    requireStorable(person);
    return (await this.#submit({ kind: "bind", person, sessionName, event })) as string;
  }

  async rebind(...[change, event]: Parameters<Ledger["rebind"]>): Promise<{ seq: number }> {
    requireStorable(change.to);
    return { seq: (await this.#submit({ kind: "rebind", change, event })) as number };
  }

  async revoke(...[what, effect, event]: Parameters<Ledger["revoke"]>): Promise<{ seq: number }> {
    return { seq: (await this.#submit({ kind: "revoke", target: targetOf(what), effect, event })) as number };
  }

  async sessionNameOf(holder: Holder): Promise<string | undefined> {
    requireStorable(holder);
    const registry = await this.#registry.about(holder);
    registry.requireMayGoOn(holder, undefined);
    return registry.nameOf(holder);
  }

  async people(): ReturnType<Ledger["people"]> {
    return await this.#read(listPeople);
  }

  async newcomers(): ReturnType<Ledger["newcomers"]> {
    return await this.#read(listNewcomers);
  }

  async revocations(): ReturnType<Ledger["revocations"]> {
    return await this.#read(listRevocations);
  }

  async signIn(id: string): ReturnType<Ledger["signIn"]> {
    return await this.#read((reader) => findSignIn(reader, id));
  }

  async grant(id: string): ReturnType<Ledger["grant"]> {
    return await this.#read((reader) => findGrant(reader, id));
  }

  async state(): ReturnType<Ledger["state"]> {
    try {
      await this.#probe();
      return { writable: true };
    } catch (error) {
      return { writable: false, reason: error instanceof Error ? error.message : "unknown fault" };
    }
  }

  async sweep(): Promise<number> {
    const due = await this.#read((reader) => this.#sweep.due(reader, this.#now()));
    const closed = await Promise.allSettled(due.map((event) => this.append(event)));
    return closed.filter(({ status }) => status === "fulfilled").length;
  }

  async checkpoint(): Promise<string | undefined> {
    if (this.#key === undefined) return undefined;
    const note = (await this.#submit({ kind: "checkpoint", key: this.#key })) as string | undefined;
    if (note !== undefined) this.#log.info({ checkpoint: note }, "ledger checkpoint");
    return note;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#timer);
    await this.checkpoint().catch(() => undefined);
    this.#closed = true;
    await this.#queue.drain();
    await this.#database.close();
  }

  /** What is done at start and every minute. Its failures are told, and tried again a minute later. */
  async #round(): Promise<void> {
    try {
      const closed = await this.sweep();
      if (closed > 0) this.#log.warn({ closed }, "requests without an outcome were closed");
      await this.checkpoint();
    } catch (error) {
      this.#log.warn({ reason: error instanceof Error ? error.message : "unknown fault" }, "ledger round failed");
    }
  }

  async #probe(): Promise<void> {
    await this.#submit({ kind: "probe", write: (tx) => this.#database.probe(tx) });
  }

  #submit(request: WriteRequest): Promise<number | string | undefined> {
    if (this.#closed) return Promise.reject(new Refusal("ledger_unavailable", "the ledger is closed"));
    return this.#queue.submit(request);
  }

  async #write(requests: readonly WriteRequest[]): Promise<readonly WriteResult[]> {
    try {
      const known = this.#end;
      const batch = await this.#database.write(known, (tx, current) =>
        writeBatch(tx, requests, { now: this.#now(), known, current }),
      );
      this.#end = batch.end;
      this.#tellMended();
      this.#countRows(batch.added);
      return batch.results;
    } catch (error) {
      this.#tellFailing(error);
      throw unavailable("the ledger can't be written", error);
    }
  }

  #countRows(added: number): void {
    this.#rowsSinceCheckpoint += added;
    if (this.#rowsSinceCheckpoint < ROWS_A_CHECKPOINT) return;
    this.#rowsSinceCheckpoint = 0;
    this.checkpoint().catch(() => undefined);
  }

  /**
   * Reads have the same deadline as writes. Where one fails, the writer has a look, since it is the one that can go
   * over to a file that was restored; then it is tried once more.
   */
  async #read<T>(query: (reader: LedgerReader) => Promise<T>): Promise<T> {
    if (this.#closed) throw new Refusal("ledger_unavailable", "the ledger is closed");
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new Error(`no answer within ${this.#deadlineMs} ms`));
      }, this.#deadlineMs);
    });
    const attempt = async (): Promise<T> => await query(this.#database.reader);
    try {
      return await Promise.race([attempt().catch(() => this.#probe().then(attempt)), deadline]);
    } catch (error) {
      throw unavailable("the ledger can't be read", error);
    } finally {
      clearTimeout(timer);
    }
  }

  #tellFailing(error: unknown): void {
    if (this.#failing) return;
    this.#failing = true;
    this.#log.error({ reason: sentence(error) }, "the ledger can't be written: no credentials until it is mended");
  }

  #tellMended(): void {
    if (!this.#failing) return;
    this.#failing = false;
    this.#log.info({}, "the ledger can be written again");
  }
}

/** A subject that two encodings could turn into one must not name anybody: people are told apart by these strings. */
function requireStorable({ directory, subject }: { directory: string; subject: string }): void {
  for (const part of [directory, subject]) {
    if (part === "" || !part.isWellFormed() || part.includes("\0")) {
      throw new Refusal("subject_missing", "directory and subject must be text that can be stored as it is");
    }
  }
}

function unavailable(what: string, cause: unknown): Refusal {
  return cause instanceof Refusal ? cause : new Refusal("ledger_unavailable", `${what}: ${sentence(cause)}`, { cause });
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : "unknown fault";
}
