import { setTimeout as delay } from "node:timers/promises";
import { pino } from "pino";
import { startBroker } from "../app.ts";
import { ConfigError } from "../config/config-error.ts";
import { loadConfig } from "../config/load.ts";
import { Refusal } from "../flow/errors.ts";
import { KeyFileError } from "../keys/key-file.ts";
import { printFaults, type OperatorIo } from "./check.ts";

/** The end of a broker that is told to stop (milliseconds): longer than it waits for open requests by itself. */
const STOP_LIMIT = 35_000;

/**
 * `rolecall-broker serve`: runs until `stop` is aborted, then finishes what is under way. Resolves with 0 after a clean
 * stop, and 1 where the broker can't start, having said why. Logs JSON lines on standard output.
 */
export async function serve(options: { config: string }, io: OperatorIo, stop: AbortSignal): Promise<number> {
  const log = pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime });
  try {
    const config = loadConfig(options.config, io.env);
    const broker = await startBroker(config, log);
    log.info({ url: config.baseUrl, host: config.listen.host, port: broker.port }, "listening");
    await aborted(stop);
    log.info({ seconds: config.stopDelaySeconds }, "stopping");
    // Whoever sends people here learns it from /readyz, and sends them elsewhere before the address is gone.
    broker.retire();
    await delay(config.stopDelaySeconds * 1000);
    return await within(broker.close(), STOP_LIMIT, () => {
      log.error({}, "stopped with requests still open");
    });
  } catch (error) {
    if (error instanceof ConfigError) printFaults(options.config, error, io);
    else if (error instanceof Refusal || error instanceof KeyFileError) io.err(`${error.message}\n`);
    else if (isAddressFault(error))
      io.err(`can't listen there: ${error.code}\nhint: change listen in ${options.config}\n`);
    else throw error;
    return 1;
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
