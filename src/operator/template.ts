import { readFileSync } from "node:fs";
import type { Config, ProviderConfig } from "../config/config.ts";
import { ConfigError } from "../config/config-error.ts";
import { loadConfigWithoutSecrets } from "../config/load.ts";
import { KeyFileError } from "../keys/key-file.ts";
import { awsBreakGlass } from "./aws-break-glass.ts";
import { denyPerson, denySessions } from "./aws-deny.ts";
import { awsRole } from "./aws-role.ts";
import { printFaults, type OperatorIo } from "./check.ts";
import { idpGuide } from "./idp-guide.ts";
import { configuredSamlMetadata } from "./saml-metadata.ts";
import { TemplateError, TemplateUsage } from "./template-error.ts";

/** What some templates are about; any other template refuses it. */
export interface TemplateOptions {
  /** Whose sessions. */
  readonly sessionName?: string;
  /** Sessions that began before then; RFC 3339. */
  readonly before?: string;
  /** A provider's ID; left out: every provider that the guide is for. */
  readonly provider?: string;
}

interface Template {
  readonly takes: readonly (keyof TemplateOptions)[];
  readonly fill: (config: Config, options: TemplateOptions, samlMetadata?: string) => string;
}

const TEMPLATES = {
  "aws/role": { takes: [], fill: (config, _, samlMetadata) => awsRole(config, samlMetadata) },
  "aws/deny-person": { takes: ["sessionName", "before"], fill: (_, options) => denyPerson(options) },
  "aws/deny-sessions": { takes: ["before"], fill: (_, options) => denySessions(options, Date.now()) },
  "aws/break-glass": { takes: [], fill: awsBreakGlass },
  "postgres/ledger": { takes: [], fill: postgresLedger },
  "idp/okta-oidc": guide("okta", "oidc"),
  "idp/okta-saml": guide("okta", "saml"),
  "idp/entra-oidc": guide("entra", "oidc"),
  "idp/entra-saml": guide("entra", "saml"),
  "idp/auth0-oidc": guide("auth0", "oidc"),
  "idp/auth0-saml": guide("auth0", "saml"),
  "idp/generic-oidc": guide("generic", "oidc"),
  "idp/generic-saml": guide("generic", "saml"),
} as const satisfies Readonly<Record<string, Template>>;

const FLAGS = { sessionName: "--session-name", before: "--before", provider: "--provider" } as const;

function guide(kind: ProviderConfig["kind"], protocol: ProviderConfig["protocol"]): Template {
  return { takes: ["provider"], fill: (config, { provider }) => idpGuide(kind, protocol, config, provider) };
}

/** The ledger's tables for their owner to make. It is run as it is; psql puts the role's name in. */
function postgresLedger(): string {
  return readFileSync(new URL("../../templates/postgres/ledger.sql", import.meta.url), "utf8");
}

/** What `rolecall-broker template NAME` can print. */
export const TEMPLATE_NAMES = Object.keys(TEMPLATES) as (keyof typeof TEMPLATES)[];

/**
 * The template `name` filled in from the configuration; throws {@link TemplateUsage} or {@link TemplateError}.
 * `samlMetadata`: the broker's own, where it federates by SAML.
 */
export function template(name: string, config: Config, samlMetadata?: string, options: TemplateOptions = {}): string {
  return known(name, options).fill(config, options, samlMetadata);
}

function known(name: string, options: TemplateOptions): Template {
  const found = TEMPLATE_NAMES.find((candidate) => candidate === name);
  if (found === undefined) {
    throw new TemplateUsage(`there is no template of that name\nhint: choose one of ${TEMPLATE_NAMES.join(", ")}`);
  }
  const { takes, fill }: Template = TEMPLATES[found];
  for (const option of Object.keys(FLAGS) as (keyof TemplateOptions)[]) {
    if (options[option] !== undefined && !takes.includes(option)) {
      throw new TemplateUsage(`${found} takes no ${FLAGS[option]}`);
    }
  }
  return { takes, fill };
}

/**
 * `rolecall-broker template`: prints the template on standard output and returns 0; 1 where the configuration can't be
 * used, or the template not be made from it; 2 for an unknown name or an option that does not fit. Needs none of the
 * configuration's secrets.
 */
export async function printTemplate(
  name: string,
  { config: file, ...options }: { config: string } & TemplateOptions,
  io: OperatorIo,
): Promise<number> {
  try {
    const { fill } = known(name, options);
    const config = loadConfigWithoutSecrets(file);
    io.out(fill(config, options, name === "aws/role" ? await configuredSamlMetadata(config) : undefined));
    return 0;
  } catch (error) {
    if (error instanceof TemplateUsage) {
      io.err(`${error.message}\n`);
      return 2;
    }
    if (error instanceof ConfigError) printFaults(file, error, io);
    else if (error instanceof KeyFileError) io.err(`error: ${error.message}\n`);
    else if (error instanceof TemplateError) io.err(`${file}: ${error.message}\n`);
    else throw error;
    return 1;
  }
}
