import type { OperatorIo } from "../../src/operator/check.ts";

/** An operator's terminal that keeps what was written to it. */
export function recordingIo(
  env: Readonly<Record<string, string | undefined>>,
): OperatorIo & { stdout(): string; stderr(): string } {
  let out = "";
  let err = "";
  return {
    env,
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    stdout: () => out,
    stderr: () => err,
  };
}
