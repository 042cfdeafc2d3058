import type { ReloadOutcome } from "../config-in-force.ts";
import { ConfigError } from "../config/config-error.ts";
import type { Config } from "../config/config.ts";
import type { Log } from "../flow/ports.ts";
import { FileWatch } from "./file-watch.ts";

/** When a reload that could not be recorded is tried again (milliseconds). */
const TRY_AGAIN = 10_000;

export interface ReloadingParts {
  readonly config: Config;
  /** Throws {@link ConfigError}. */
  readonly load: () => Config;
  readonly reload: (load: () => Config) => Promise<ReloadOutcome>;
  readonly log: Log;
}

/** Reloads the configuration on SIGHUP and when one of its files has changed, until it is closed. */
export class Reloading {
  readonly #parts: ReloadingParts;
  readonly #watch = new FileWatch(() => void this.#reload());
  /** Of the last good configuration. */
  #files: readonly string[];
  #again: NodeJS.Timeout | undefined;

  constructor(parts: ReloadingParts) {
    this.#parts = parts;
    this.#files = parts.config.source.files;
    this.#watch.follow(this.#files);
  }

  /** On SIGHUP: somebody waits for a word, also where nothing has changed. */
  async hangup(): Promise<void> {
    const outcome = await this.#reload();
    if (outcome === "unchanged") this.#parts.log.info({}, "SIGHUP: tags and access are as they were");
    if (outcome === "refused") this.#parts.log.warn({}, "SIGHUP: the configuration has faults");
  }

  close(): void {
    clearTimeout(this.#again);
    this.#watch.close();
  }

  async #reload(): Promise<ReloadOutcome | undefined> {
    try {
      const outcome = await this.#parts.reload(() => this.#load());
      clearTimeout(this.#again);
      if (outcome === "unrecorded") this.#again = setTimeout(() => void this.#reload(), TRY_AGAIN).unref();
      return outcome;
    } catch (error) {
      this.#parts.log.error({ err: error }, "the configuration could not be reloaded");
      return undefined;
    }
  }

  /** The configuration; whatever comes of it, its files are followed from now on. */
  #load(): Config {
    try {
      const config = this.#parts.load();
      this.#files = config.source.files;
      this.#watch.follow(this.#files);
      return config;
    } catch (error) {
      // Also those that only the faulty one names: one of them may be what is missing.
      if (error instanceof ConfigError) this.#watch.follow([...new Set([...this.#files, ...error.source.files])]);
      throw error;
    }
  }
}
