import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startCompany } from "./company.ts";
import { alternate, figures, type Figures } from "./measure.ts";

const ROLECALL = fileURLToPath(new URL("../dist/rolecall.mjs", import.meta.url));

/** `rolecall credentials` from the cache, as an SDK runs it, beside a start of Node that does nothing. */
export async function cli(): Promise<Figures> {
  const company = await startCompany();
  const env = { ...process.env, ROLECALL_HOME: company.home };
  const run = (...args: string[]): Promise<unknown> => promisify(execFile)(process.execPath, args, { env });
  try {
    const times = await alternate({
      samples: 40,
      ours: () => run(ROLECALL, "credentials", "--broker", company.sandbox.config.baseUrl),
      floor: () => run("--eval", "0"),
    });
    return figures("cli", "ms", "a start of Node that does nothing", times);
  } finally {
    await company.close();
  }
}
