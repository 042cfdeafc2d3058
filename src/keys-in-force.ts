import type { AuditEvent } from "./flow/audit-event.ts";
import type { LedgerPort, Log } from "./flow/ports.ts";
import { allStanding, changesBetween, type KeyChange } from "./keys/key-changes.ts";
import { importKeys, type Keys } from "./keys/key-format.ts";
import type { KeyStanding } from "./keys/key-states.ts";
import type { KeyFile, StoredKey } from "./keys/stored-keys.ts";

/** When a change that could not be recorded is tried again (milliseconds). */
const TRY_AGAIN = 10_000;
/** Timers of weeks don't work, and a machine may have slept (milliseconds). */
const LOOK_AGAIN = 60 * 60 * 1000;

export interface KeysInForceParts {
  /** As it was at the start. */
  readonly file: KeyFile;
  /** As it is now; undefined: it is gone. Rejects where it is broken. */
  readonly load: () => Promise<KeyFile | undefined>;
  readonly ledger: Pick<LedgerPort, "append">;
  readonly log: Log;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/**
 * The keys that count now: those of the last good file, as its times say. Every change counts once `key.changed` is
 * durable, one row for all brokers: no record, no change. Until then the keys from before stay in force, which are
 * taken long enough.
 */
export class KeysInForce {
  readonly #parts: KeysInForceParts;
  #file: KeyFile;
  #keys: Keys;
  #standing: readonly KeyStanding<StoredKey>[] = [];
  /** When the next key is something else by itself (epoch milliseconds). */
  #due = Infinity;
  #upToDate = true;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** Settles with the last change; never rejects. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(parts: KeysInForceParts, keys: Keys) {
    this.#parts = parts;
    this.#file = parts.file;
    this.#keys = keys;
  }

  /** Rejects where what the keys are now is not on record and can't be recorded. */
  static async start(parts: KeysInForceParts): Promise<KeysInForce> {
    const inForce = new KeysInForce(parts, await importKeys(parts.file, parts.now()));
    await inForce.#take(parts.file, "broker");
    return inForce;
  }

  /** The same object until something changes. */
  get keys(): Keys {
    if (this.#parts.now() >= this.#due) {
      this.#due = Infinity;
      void this.#inTurn(() => this.#tryTake(() => Promise.resolve(this.#file)));
    }
    return this.#keys;
  }

  /** Every key of the file, history included. */
  get standing(): readonly KeyStanding<StoredKey>[] {
    return this.#standing;
  }

  /** False while the file says something else than what counts. */
  get upToDate(): boolean {
    return this.#upToDate;
  }

  /** Reads the file again. What is broken, or can't be recorded, leaves the last good keys, and the log says so. */
  reload(): Promise<void> {
    return this.#inTurn(() => this.#tryTake(this.#parts.load));
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#last;
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #tryTake(load: () => Promise<KeyFile | undefined>): Promise<void> {
    const { log } = this.#parts;
    try {
      const file = await load();
      if (file === undefined) throw new Error("keys.json is gone");
      await this.#take(file, "broker");
      if (!this.#upToDate) log.info({}, "the keys are as keys.json has them again");
      this.#upToDate = true;
    } catch (error) {
      const problem = error instanceof Error ? error.message : "unknown fault";
      if (this.#upToDate) log.error({ reason: problem }, "the keys were not changed: the last good ones stay in force");
      this.#upToDate = false;
      this.#wakeIn(TRY_AGAIN, () => this.#tryTake(this.#parts.load));
    }
  }

  async #take(file: KeyFile, actor: string): Promise<void> {
    const { now, ledger, log } = this.#parts;
    const at = now();
    const standing = allStanding(file, at);
    const changes = changesBetween(this.#standing, standing);
    if (changes.length > 0) {
      const keys = await importKeys(file, at);
      await recordKeyChanges(ledger, changes, actor);
      if (this.#standing.length > 0) {
        for (const { use, kid, from, to } of changes) log.info({ use, kid, from, to }, "a key changed");
      }
      this.#keys = keys;
    }
    this.#file = file;
    this.#standing = standing;
    this.#due = Math.min(...standing.map(({ until = Infinity }) => until));
    this.#wakeIn(Math.min(this.#due - at, LOOK_AGAIN), () => this.#tryTake(() => Promise.resolve(this.#file)));
  }

  #wakeIn(milliseconds: number, work: () => Promise<void>): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.#inTurn(work), milliseconds).unref();
  }
}

/** Resolves when each of `changes` is in the ledger, once, whoever notices it first. */
export async function recordKeyChanges(
  ledger: Pick<LedgerPort, "append">,
  changes: readonly KeyChange[],
  actor: string,
): Promise<void> {
  await Promise.all(changes.map((change) => ledger.append(keyChanged(change, actor))));
}

function keyChanged({ use, kid, from, to }: KeyChange, actor: string): AuditEvent {
  return {
    type: "key.changed",
    requestId: `${use}:${kid}:${to}`,
    keyId: kid,
    keyUse: use,
    ...(from !== undefined && { keyFrom: from }),
    keyTo: to,
    outcome: "success",
    actor,
  };
}
