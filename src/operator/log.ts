import { pino, type DestinationStream } from "pino";
import { loggable, logMessage, type LogFields } from "../flow/log-fields.ts";
import type { Log } from "../flow/ports.ts";
import { currentRequestId } from "../flow/request-id.ts";

/**
 * The broker's log: a JSON line each, with its time (ISO 8601, UTC), on standard output or at `destination`. Nothing gets
 * there but what {@link loggable} lets through.
 */
export function operatorLog(destination?: DestinationStream): Log {
  const options = {
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    // What pino would make of an error is more than is wanted.
    serializers: { err: (described: unknown) => described },
  };
  const sink = destination ? pino(options, destination) : pino(options);
  const write =
    (level: "info" | "warn" | "error"): Log["info"] =>
    (fields, message) => {
      sink[level](loggable(ofRequest(fields)), logMessage(message));
    };
  return { info: write("info"), warn: write("warn"), error: write("error") };
}

/** What the parts log in the middle of a request knows nothing of the request: its ID is added here. */
function ofRequest(fields: LogFields): LogFields {
  return { requestId: currentRequestId(), ...fields };
}
