import { isDeepStrictEqual } from "node:util";
import { ConfigError } from "./config/config-error.ts";
import type { Config } from "./config/config.ts";
import type { AuditEvent } from "./flow/audit-event.ts";
import { asRefusal } from "./flow/errors.ts";
import type { LedgerPort, Log } from "./flow/ports.ts";
import type { Mapping } from "./flow/tags.ts";

/**
 * What came of a reload: `taken`; `unchanged`, tags and access are as they were; `refused`, the file has faults;
 * `unrecorded`, the ledger could not be written, so everything stays as it was and it is to be tried again.
 */
export type ReloadOutcome = "taken" | "unchanged" | "refused" | "unrecorded";

export interface ReloadPorts {
  readonly ledger: Pick<LedgerPort, "append">;
  readonly log: Log;
}

type FixedField = Exclude<keyof Config, "tags" | "mapping" | "access" | "source">;

/** What only a restart changes, by the name that the file has for it. */
const FIXED: Readonly<Record<FixedField, string>> = {
  environment: "environment",
  baseUrl: "baseUrl",
  listen: "listen",
  trustProxy: "trustProxy",
  stateDir: "stateDir",
  aws: "aws",
  providers: "providers",
  signInMaxAgeSeconds: "signInMaxAge",
  stopDelaySeconds: "stopDelay",
  rateLimits: "rateLimits",
  redisUrl: "redis",
  ledgerUrl: "ledger",
  checkpointKey: "checkpointKey",
};

/** The tags and access that count now: those of the start, or of the last good file since. */
export class ConfigInForce {
  readonly #started: Config;
  #current: Config;
  #upToDate = true;
  /** The refusal that the ledger has already, while the file stays as it is. */
  #refused: string | undefined;
  #waiting: readonly string[] = [];
  /** Settles with the last reload that was asked for; never rejects. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(config: Config) {
    this.#started = config;
    this.#current = config;
  }

  get mapping(): Mapping {
    return this.#current.mapping;
  }

  /** False while the files say something else than what counts. */
  get upToDate(): boolean {
    return this.#upToDate;
  }

  /**
   * Puts the tags and access of what `load` returns in force, once `config.changed` is durable: no record, no change.
   * A {@link ConfigError} of `load` leaves the last good ones and is recorded too, once for each file and faults. Every
   * other field waits for a restart, and the log says which. One at a time, in the order of the calls. Rejects only with
   * what `load` throws else.
   */
  reload(load: () => Config, ports: ReloadPorts): Promise<ReloadOutcome> {
    const reloaded = this.#last.then(() => this.#reload(load, ports));
    this.#last = reloaded.catch(() => undefined);
    return reloaded;
  }

  async #reload(load: () => Config, ports: ReloadPorts): Promise<ReloadOutcome> {
    const outcome = await this.#tryReload(load, ports);
    this.#upToDate = outcome === "taken" || outcome === "unchanged";
    return outcome;
  }

  async #tryReload(load: () => Config, ports: ReloadPorts): Promise<ReloadOutcome> {
    try {
      return await this.#take(load(), ports);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return this.#refuse(error, ports);
    }
  }

  async #take(config: Config, { ledger, log }: ReloadPorts): Promise<ReloadOutcome> {
    this.#sayWhatWaits(config, log);
    if (isDeepStrictEqual(reloadable(config), reloadable(this.#current))) {
      if (this.#refused !== undefined) log.info({}, "the configuration has no fault any more");
      this.#refused = undefined;
      return "unchanged";
    }
    if (!(await recorded(ledger, log, configChanged(config, "reload")))) return "unrecorded";
    this.#current = config;
    this.#refused = undefined;
    const { mapping, source } = config;
    log.info({ mappingVersion: mapping.version, configSha256: source.sha256 }, "tags and access were reloaded");
    return "taken";
  }

  async #refuse({ faults, source }: ConfigError, { ledger, log }: ReloadPorts): Promise<ReloadOutcome> {
    const refused = JSON.stringify([source.sha256, faults]);
    if (refused === this.#refused) return "refused";
    log.error(
      { faults, configSha256: source.sha256 },
      "the configuration has faults: the last good one stays in force",
    );
    const event = { ...configChanged({ mapping: this.mapping, source }, "reload"), reason: "config_invalid" } as const;
    if (!(await recorded(ledger, log, { ...event, outcome: "refused" }))) return "unrecorded";
    this.#refused = refused;
    return "refused";
  }

  /** Once for each set of fields. */
  #sayWhatWaits(config: Config, log: Log): void {
    const fields = Object.keys(FIXED) as FixedField[];
    const waiting = fields
      .filter((key) => !isDeepStrictEqual(config[key], this.#started[key]))
      .map((key) => FIXED[key]);
    if (isDeepStrictEqual(waiting, this.#waiting)) return;
    this.#waiting = waiting;
    if (waiting.length > 0) log.warn({ fields: waiting }, "changed fields wait for a restart");
  }
}

/** `config.changed`: from now on `config` counts. */
export function configChanged(
  { mapping, source }: Pick<Config, "mapping" | "source">,
  actor: "start" | "reload",
): AuditEvent {
  return {
    type: "config.changed",
    mappingVersion: mapping.version,
    ...(source.sha256 !== undefined && { configSha256: source.sha256 }),
    outcome: "success",
    actor,
  };
}

function reloadable({ tags, access }: Config): unknown {
  return { tags, access };
}

async function recorded(ledger: ReloadPorts["ledger"], log: Log, event: AuditEvent): Promise<boolean> {
  try {
    await ledger.append(event);
    return true;
  } catch (error) {
    log.error(
      { reason: asRefusal(error).code },
      "a reload can't be recorded: the last good configuration stays in force",
    );
    return false;
  }
}
