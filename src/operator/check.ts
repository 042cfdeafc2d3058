import type { Config } from "../config/config.ts";
import { ConfigError } from "../config/config-error.ts";
import { loadConfig } from "../config/load.ts";
import { samlFaults } from "./saml-faults.ts";

/** Where an operator's command reads the environment and writes; the mains hand in the process's own. */
export interface OperatorIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Standard output; whole lines. */
  readonly out: (text: string) => void;
  /** Standard error; whole lines. */
  readonly err: (text: string) => void;
}

/**
 * `rolecall-broker check`: 0 and a summary where `options.config` can be served, otherwise 1 and every fault by the
 * field's name; what SAML providers' certificates and metadata files would refuse at the first sign-in is one, too. With
 * `json`, one JSON object on standard output either way: `{ok, faults: [{path, message}]}`. `now`: epoch milliseconds.
 */
export async function check(
  options: { config: string; json: boolean },
  io: OperatorIo,
  now: number = Date.now(),
): Promise<number> {
  try {
    const config = loadConfig(options.config, io.env);
    const faults = await samlFaults(config, now);
    if (faults.length > 0) throw new ConfigError(faults, config.source);
    io.out(options.json ? json({ ok: true, faults: [], mappingVersion: config.mapping.version }) : summary(config));
    return 0;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    if (options.json) io.out(json({ ok: false, faults: error.faults }));
    else printFaults(options.config, error, io);
    return 1;
  }
}

/** Every fault on a line of its own, the field first, then where to look further. */
export function printFaults(file: string, { faults }: ConfigError, io: Pick<OperatorIo, "err">): void {
  const lines = faults.map(({ path, message }) =>
    path === "" ? `${file}: ${message}\n` : `${file}: ${path}: ${message}\n`,
  );
  io.err(`${lines.join("")}${faults.length} ${faults.length === 1 ? "fault" : "faults"} in ${file}\n`);
  io.err("hint: every field is described in docs/configuration.md, whole files are in examples/\n");
}

function summary(config: Config): string {
  const providers = config.providers.map(({ id, kind, issuer }) => `${id} (${kind}, ${issuer})`);
  const tags = Object.entries(config.tags).map(([key, rule]) => (rule.required ? `${key} (required)` : key));
  const rows = [
    ["environment", config.environment],
    ["base URL", config.baseUrl],
    ["federation issuer", `${config.baseUrl}/federation`],
    ["role", config.aws.roleArn],
    ["providers", providers.join(", ")],
    ["tags", tags.join(", ")],
    ["mapping version", config.mapping.version],
  ];
  return `ok\n${rows.map(([name = "", value = ""]) => `  ${name.padEnd(17)}  ${value}\n`).join("")}`;
}

function json(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
