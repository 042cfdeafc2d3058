import type { Holder } from "../flow/holder.ts";
import { Registry } from "./registry.ts";
import type { LedgerReader } from "./tables.ts";

/** People in one query at most. */
const GROUP_SIZE = 200;

interface Asked {
  readonly holder: Holder;
  readonly resolve: (registry: Registry) => void;
  readonly reject: (error: unknown) => void;
}

/** Reads who has which name and what is revoked, each time anew; those that ask at one moment share the reading. */
export class SharedReading {
  readonly #read: <T>(query: (reader: LedgerReader) => Promise<T>) => Promise<T>;
  #asked: Asked[] = [];

  /** `read` carries a query out, in bounded time. */
  constructor(read: <T>(query: (reader: LedgerReader) => Promise<T>) => Promise<T>) {
    this.#read = read;
  }

  /** What stands in the database about `holder`, and maybe about others. Rejects as the reading does. */
  about(holder: Holder): Promise<Registry> {
    return new Promise((resolve, reject) => {
      // One turn later, when everybody has asked whose request this turn brought.
      if (this.#asked.length === 0) setImmediate(() => void this.#answer());
      this.#asked.push({ holder, resolve, reject });
    });
  }

  async #answer(): Promise<void> {
    const group = this.#asked.splice(0, GROUP_SIZE);
    if (this.#asked.length > 0) setImmediate(() => void this.#answer());
    try {
      const holders = group.map(({ holder }) => holder);
      const registry = await this.#read((reader) => Registry.read(reader, { names: [], holders }));
      for (const { resolve } of group) resolve(registry);
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
  }
}
