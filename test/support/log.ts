import type { Log } from "../../src/flow/ports.ts";

export interface LogLine {
  readonly level: "info" | "warn" | "error";
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** A log that keeps its lines, for the test to read. */
export function recordingLog(): Log & { readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const write =
    (level: LogLine["level"]): Log["info"] =>
    (fields, message) => {
      lines.push({ level, fields, message });
    };
  return { lines, info: write("info"), warn: write("warn"), error: write("error") };
}
