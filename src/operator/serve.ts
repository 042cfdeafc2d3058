import { setTimeout as delay } from "node:timers/promises";
import { startBroker, type Broker } from "../app.ts";
import { ConfigError } from "../config/config-error.ts";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { Refusal } from "../flow/errors.ts";
import type { Log } from "../flow/ports.ts";
import { KeyFileError, keysPath } from "../keys/key-file.ts";
import { tracesFor } from "../metrics/traces-for.ts";
import { VERSION } from "../cli/version.ts";
import { printFaults, type OperatorIo } from "./check.ts";
import { FileWatch } from "./file-watch.ts";
import { operatorLog } from "./log.ts";
import { Reloading } from "./reloading.ts";

/** The end of a broker that is told to stop (milliseconds): longer than it waits for open requests by itself. */
const STOP_LIMIT = 35_000;

/**
 * `rolecall-broker serve`: runs until `stop` is aborted, then finishes what is under way. Tags, access and keys are
 * reloaded on SIGHUP and when their files change. Resolves with 0 after a clean stop, and 1 where the broker can't start, having said why. Logs JSON lines on standard output.
 */
export async function serve(options: { config: string }, io: OperatorIo, stop: AbortSignal): Promise<number> {
  const log = operatorLog();
  const hangups = new Hangups();
  try {
    const load = (): Config => loadConfig(options.config, io.env);
    const config = load();
    const traces = await tracesFor(io.env, { version: VERSION, log });
    const broker = await startBroker(config, log, Date.now, traces);
    log.info({ url: config.baseUrl, host: config.listen.host, port: broker.port }, "listening");
    await reloading({ config, load, broker, log, hangups }, aborted(stop));
    log.info({ seconds: config.stopDelaySeconds }, "stopping");
    // Whoever sends people here learns it from /readyz, and sends them elsewhere before the address is gone.
    broker.retire();
    await delay(config.stopDelaySeconds * 1000);
    const code = await within(broker.close(), STOP_LIMIT, () => {
      log.error({}, "stopped with requests still open");
    });
    await traces.close();
    return code;
  } catch (error) {
    if (error instanceof ConfigError) printFaults(options.config, error, io);
    else if (error instanceof Refusal || error instanceof KeyFileError) io.err(`${error.message}\n`);
    else if (isAddressFault(error))
      io.err(`can't listen there: ${error.code}\nhint: change listen in ${options.config}\n`);
    else throw error;
    return 1;
  } finally {
    hangups.end();
  }
}

/** Resolves with `until`; before that, tags, access and keys follow their files. */
async function reloading(
  parts: { config: Config; load: () => Config; broker: Broker; log: Log; hangups: Hangups },
  until: Promise<void>,
): Promise<void> {
  const { broker, hangups, ...rest } = parts;
  const following = new Reloading({ ...rest, reload: (load) => broker.reload(load) });
  const keys = new FileWatch(() => void broker.reloadKeys());
  keys.follow([keysPath(parts.config.stateDir)]);
  hangups.heard = () => {
    void following.hangup();
    void broker.reloadKeys();
  };
  await until;
  hangups.heard = undefined;
  following.close();
  keys.close();
}

/** SIGHUP, which would end the process where nobody listens: taken from before the start until after the end. */
class Hangups {
  heard: (() => void) | undefined;
  readonly #listener = (): void => this.heard?.();

  constructor() {
    process.on("SIGHUP", this.#listener);
  }

  end(): void {
    process.off("SIGHUP", this.#listener);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else
      signal.addEventListener(
        "abort",
        () => {
          resolve();
        },
        { once: true },
      );
  });
}

async function within(done: Promise<void>, limit: number, late: () => void): Promise<number> {
  const timer = Promise.withResolvers<number>();
  const timeout = setTimeout(() => {
    late();
    timer.resolve(1);
  }, limit);
  try {
    return await Promise.race([done.then(() => 0), timer.promise]);
  } finally {
    clearTimeout(timeout);
  }
}

function isAddressFault(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error && error.syscall === "listen";
}
