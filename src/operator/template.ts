import { readFileSync } from "node:fs";
import type { Config } from "../config/config.ts";
import { ConfigError } from "../config/config-error.ts";
import { loadConfigWithoutSecrets } from "../config/load.ts";
import { KeyFileError } from "../keys/key-file.ts";
import { awsRole } from "./aws-role.ts";
import { printFaults, type OperatorIo } from "./check.ts";
import { configuredSamlMetadata } from "./saml-metadata.ts";
import { TemplateError } from "./template-error.ts";

const TEMPLATES = {
  "aws/role": awsRole,
  "postgres/ledger": postgresLedger,
} as const satisfies Readonly<Record<string, (config: Config, samlMetadata?: string) => string>>;

/** The ledger's tables for their owner to make. It is run as it is; psql puts the role's name in. */
function postgresLedger(): string {
  return readFileSync(new URL("../../templates/postgres/ledger.sql", import.meta.url), "utf8");
}

/** What `rolecall-broker template NAME` can print. */
export const TEMPLATE_NAMES = Object.keys(TEMPLATES) as (keyof typeof TEMPLATES)[];

/**
 * The template `name` filled in from the configuration, or a {@link TemplateError}. `samlMetadata`: the broker's own, where it
 * federates by SAML.
 */
export function template(name: string, config: Config, samlMetadata?: string): string {
  const known = TEMPLATE_NAMES.find((candidate) => candidate === name);
  if (known === undefined) throw new TemplateError("there is no template of that name");
  return TEMPLATES[known](config, samlMetadata);
}

/**
 * `rolecall-broker template`: prints the template on standard output and returns 0; 1 where the configuration can't be
 * used, or the template not be made from it; 2 for an unknown name. Needs none of the configuration's secrets.
 */
export async function printTemplate(name: string, options: { config: string }, io: OperatorIo): Promise<number> {
  if (!TEMPLATE_NAMES.some((known) => known === name)) {
    io.err(`there is no template of that name\nhint: choose one of ${TEMPLATE_NAMES.join(", ")}\n`);
    return 2;
  }
  try {
    const config = loadConfigWithoutSecrets(options.config);
    io.out(template(name, config, name === "aws/role" ? await configuredSamlMetadata(config) : undefined));
    return 0;
  } catch (error) {
    if (error instanceof ConfigError) printFaults(options.config, error, io);
    else if (error instanceof KeyFileError) io.err(`error: ${error.message}\n`);
    else if (error instanceof TemplateError) io.err(`${options.config}: ${error.message}\n`);
    else throw error;
    return 1;
  }
}
