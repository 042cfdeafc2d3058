import { Refusal } from "../flow/errors.ts";
import type { KeyValueStore } from "../flow/ports.ts";

interface Entry {
  readonly value: string;
  /** Epoch milliseconds. */
  readonly expires: number;
}

/** Sign-ins that never finish can't fill the process. */
const MOST_ENTRIES = 100_000;

/**
 * A store in this process alone, for development: gone with the process, shared with nobody. A full one refuses new
 * keys. Each method's steps run without a pause, which makes them one step.
 */
export function memoryStore(now: () => number = Date.now, mostEntries = MOST_ENTRIES): KeyValueStore {
  const entries = new Map<string, Entry>();

  const read = (key: string): string | undefined => {
    const entry = entries.get(key);
    if (entry !== undefined && entry.expires > now()) return entry.value;
    entries.delete(key);
    return undefined;
  };
  const write = (key: string, value: string, ttlSeconds: number): void => {
    if (entries.size >= mostEntries && !entries.has(key)) makeRoom();
    entries.set(key, { value, expires: now() + Math.max(1, Math.ceil(ttlSeconds)) * 1000 });
  };
  const makeRoom = (): void => {
    for (const [key, entry] of entries) if (entry.expires <= now()) entries.delete(key);
    if (entries.size >= mostEntries) throw new Refusal("store_unavailable", "the in-memory store is full");
  };
  const writeUnless = (mark: string, key: string, value: string, ttlSeconds: number): boolean => {
    if (read(mark) !== undefined) return false;
    write(key, value, ttlSeconds);
    return true;
  };

  const addOne = (key: string, ttlSeconds: number): { count: number; secondsLeft: number } => {
    const count = Number(read(key) ?? "0") + 1;
    if (count === 1) write(key, "0", ttlSeconds);
    const expires = entries.get(key)?.expires ?? 0;
    entries.set(key, { value: String(count), expires });
    return { count, secondsLeft: Math.ceil((expires - now()) / 1000) };
  };

  return {
    get: (key) => attempt(() => read(key)),
    getAll: (keys) => attempt(() => keys.map(read)),
    set: (key, value, ttlSeconds) =>
      attempt(() => {
        write(key, value, ttlSeconds);
      }),
    add: (key, value, ttlSeconds) => attempt(() => writeUnless(key, key, value, ttlSeconds)),
    setUnless: (tombstone, key, value, ttlSeconds) => attempt(() => writeUnless(tombstone, key, value, ttlSeconds)),
    take: (key) =>
      attempt(() => {
        const value = read(key);
        entries.delete(key);
        return value;
      }),
    delete: (key) => attempt(() => void entries.delete(key)),
    count: (key, ttlSeconds) => attempt(() => addOne(key, ttlSeconds)),
    ping: () => Promise.resolve(),
  };
}

/** The answer as a promise, the refusal as its rejection. */
function attempt<T>(step: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(step());
  });
}
