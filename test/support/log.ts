import { loggable, logMessage } from "../../src/flow/log-fields.ts";
import type { Log } from "../../src/flow/ports.ts";
import { currentRequestId } from "../../src/flow/request-id.ts";

export interface LogLine {
  readonly level: "info" | "warn" | "error";
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** A log that keeps its lines, as they would be written, for the test to read. */
export interface RecordingLog extends Log {
  readonly lines: LogLine[];
  /** Those that tell of an answer, which come once its receiver has it. */
  readonly answers: LogLine[];
}

export function recordingLog(): RecordingLog {
  const lines: LogLine[] = [];
  const answers: LogLine[] = [];
  const write =
    (level: LogLine["level"]): Log["info"] =>
    (fields, message) => {
      const line = {
        level,
        fields: loggable({ requestId: currentRequestId(), ...fields }),
        message: logMessage(message),
      };
      (message === "answered" ? answers : lines).push(line);
    };
  return { lines, answers, info: write("info"), warn: write("warn"), error: write("error") };
}
