import { keysOf } from "./key-format.ts";
import { KEY_USES, standingAt, WHEN_TOLD, type KeyStanding, type KeyState, type KeyUse } from "./key-states.ts";
import type { KeyFile, StoredKey } from "./stored-keys.ts";

/** The keys can't be changed so; the message says why and what to do. */
export class KeyChangeRefused extends Error {
  override readonly name = "KeyChangeRefused";
}

/** One key that is something else than before. */
export interface KeyChange {
  readonly use: KeyUse;
  readonly kid: string;
  /** Undefined: it is new. */
  readonly from: KeyState | undefined;
  readonly to: KeyState;
}

/** All keys as they stand at `now`, use by use, in the order in which they become active. */
export function allStanding(file: KeyFile, now: number): KeyStanding<StoredKey>[] {
  return KEY_USES.flatMap((use) => standingOf(file, use, now));
}

/** What is different between two files, or between two moments of one. */
export function changesBetween(
  before: readonly KeyStanding<StoredKey>[],
  after: readonly KeyStanding<StoredKey>[],
): KeyChange[] {
  const was = new Map(before.map(({ key, state }) => [`${key.use} ${key.kid}`, state]));
  return after.flatMap(({ key: { use, kid }, state: to }) => {
    const from = was.get(`${use} ${kid}`);
    return from === to ? [] : [{ use, kid, from, to }];
  });
}

/** Whether a key waits for its time already. */
export function preparedKey(file: KeyFile, use: KeyUse, now: number): StoredKey | undefined {
  return standingOf(file, use, now).find(({ state }) => state === "prepared")?.key;
}

function standingOf(file: KeyFile, use: KeyUse, now: number): KeyStanding<StoredKey>[] {
  return standingAt<StoredKey>(use, keysOf(file, use), now);
}

/**
 * With `fresh` as the next key of its use. Throws {@link KeyChangeRefused} where one waits already, or the key is there.
 */
export function withNext(file: KeyFile, fresh: StoredKey, now: number): KeyFile {
  if (file.keys.some(({ use, kid }) => use === fresh.use && kid === fresh.kid)) {
    throw new KeyChangeRefused(`the key ${fresh.kid} is in keys.json already`);
  }
  const { key: active } = standingOf(file, fresh.use, now).find(({ state }) => state === "active") ?? {};
  if (active !== undefined && Date.parse(fresh.activeFrom) <= Date.parse(active.activeFrom)) {
    throw new KeyChangeRefused(`the key ${active.kid} is active from ${active.activeFrom} on: is this clock behind?`);
  }
  const waiting = preparedKey(file, fresh.use, now);
  if (waiting !== undefined) {
    throw new KeyChangeRefused(
      `the key ${waiting.kid} is prepared for ${fresh.use} already, and becomes active ${beginningOf(waiting)}`,
    );
  }
  return withoutOldSecrets({ ...file, keys: [...file.keys, fresh] }, now);
}

function beginningOf({ activeFrom }: StoredKey): string {
  return activeFrom === WHEN_TOLD ? "when told: --activate" : `at ${activeFrom}`;
}

/** With the prepared key of that use active at once. */
export function activeNow(file: KeyFile, waiting: StoredKey, now: number): KeyFile {
  const activeFrom = new Date(now).toISOString();
  const keys = file.keys.map((key) => (isSame(key, waiting) ? { ...key, activeFrom } : key));
  return withoutOldSecrets({ ...file, keys }, now);
}

/**
 * Without the key `kid`, for good: where it is the active one, the prepared one takes over at once, or else what `fresh`
 * makes. Throws {@link KeyChangeRefused} where no key has that `kid`, or it is withdrawn already.
 */
export async function withoutKey(
  file: KeyFile,
  kid: string,
  fresh: (use: KeyUse) => Promise<StoredKey>,
  now: number,
): Promise<KeyFile> {
  const found = allStanding(file, now).find(({ key }) => key.kid === kid);
  if (found === undefined) throw new KeyChangeRefused(`no key in keys.json has the kid ${kid}`);
  if (found.state === "revoked") throw new KeyChangeRefused(`the key ${kid} was revoked at ${found.key.revokedAt}`);
  const revokedAt = new Date(now).toISOString();
  const keys = file.keys.map((key) => (isSame(key, found.key) ? { ...key, revokedAt } : key));
  const without = { ...file, keys };
  if (found.state !== "active") return withoutOldSecrets(without, now);
  const waiting = preparedKey(file, found.key.use, now);
  if (waiting !== undefined) return activeNow(without, waiting, now);
  return withoutOldSecrets({ ...file, keys: [...keys, await fresh(found.key.use)] }, now);
}

/** What nobody takes any more is history: its private half can only be stolen. */
function withoutOldSecrets(file: KeyFile, now: number): KeyFile {
  const over = allStanding(file, now).filter(({ state }) => state === "dropped" || state === "revoked");
  const keys = file.keys.map((key) => (over.some((it) => isSame(it.key, key)) ? withoutSecret(key) : key));
  return { ...file, keys };
}

function withoutSecret(key: StoredKey): StoredKey {
  const { ...history } = key;
  if ("privateKey" in history) delete history.privateKey;
  if ("secret" in history) delete history.secret;
  return history;
}

function isSame(key: StoredKey, other: StoredKey): boolean {
  return key.use === other.use && key.kid === other.kid;
}
