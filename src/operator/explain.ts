import { readFileSync } from "node:fs";
import type { Config, ProviderConfig, SamlProvider } from "../config/config.ts";
import { ConfigError } from "../config/config-error.ts";
import { loadConfigWithoutSecrets } from "../config/load.ts";
import { reason, Refusal } from "../flow/errors.ts";
import type { Identity, JsonValue } from "../flow/identity.ts";
import { roleSessionName } from "../flow/session-name.ts";
import { claimsRead, MappingRefusal, mapTags, type TraceStep } from "../flow/tags.ts";
import type { Claims } from "../idp/claim-rules.ts";
import { identityFromClaims } from "../idp/identity.ts";
import { samlClaims } from "../idp/saml/claims.ts";
import { printFaults, type OperatorIo } from "./check.ts";

export interface ExplainOptions {
  readonly config: string;
  /** Provider ID. */
  readonly provider: string;
  /** A file: one JSON object, the claims as the provider sends them; SAML: the attributes, and `NameID`. */
  readonly claims: string;
  readonly json: boolean;
}

/** As much as is known of the way from the claims to tags, up to a refusal. */
interface Explanation {
  readonly provider: string;
  readonly identity?: Identity;
  readonly sessionName?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly trace?: readonly TraceStep[];
  readonly refusal?: Refusal;
}

/**
 * `rolecall-broker explain`: what somebody with these claims would be given, and why: tags, session name, and what
 * became of every rule. Needs none of the configuration's secrets and asks nobody; the claims are believed, and
 * whether the session name is still free is the ledger's to say. Returns 0; 1 with code, sentence and trace where the
 * person would be refused, or where a file can't be used; 2 for a provider that isn't configured.
 */
export function explain(options: ExplainOptions, io: OperatorIo): Promise<number> {
  return Promise.resolve(explainClaims(options, io));
}

function explainClaims(options: ExplainOptions, io: OperatorIo): number {
  const config = readConfig(options.config, io);
  if (!config) return 1;
  const provider = config.providers.find(({ id }) => id === options.provider);
  if (!provider) {
    io.err(`${options.config} has no provider with that id\n`);
    io.err(`hint: choose one of ${config.providers.map(({ id }) => id).join(", ")}\n`);
    return 2;
  }
  const claims = readClaims(options.claims);
  if (typeof claims === "string") {
    io.err(`${options.claims}: ${claims}\nhint: a claims file is one JSON object, as in examples/claims/okta.json\n`);
    return 1;
  }
  const explanation = followClaims(config, provider, claims);
  io.out(options.json ? `${JSON.stringify(jsonOf(config, explanation))}\n` : tablesOf(explanation));
  const { refusal } = explanation;
  if (!refusal) return 0;
  if (!options.json) {
    const { sentence, remedy } = reason(refusal.code);
    io.err(`refused: ${refusal.code}: ${refusal.message}\n${sentence}\nhint: ${remedy}\n`);
  }
  return 1;
}

/** The way of a sign-in and an issue, without keeping or asking for anything. */
function followClaims(config: Config, provider: ProviderConfig, claims: Record<string, JsonValue>): Explanation {
  let known: Explanation = { provider: provider.id };
  try {
    const named = provider.protocol === "saml" ? fromAttributes(provider, claims) : claims;
    const identity = identityFromClaims(provider, named, claimsRead(config.mapping, provider.id), Date.now());
    known = { ...known, identity, sessionName: roleSessionName(identity) };
    return { ...known, ...mapTags(config.mapping, identity) };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { ...known, ...(error instanceof MappingRefusal && { trace: error.trace }), refusal: error };
  }
}

/** A SAML provider's attributes by their names, and the NameID under that name. */
function fromAttributes(provider: SamlProvider, { NameID: nameId, ...attributes }: Record<string, JsonValue>): Claims {
  return samlClaims(provider, Object.entries(attributes), typeof nameId === "string" ? nameId : undefined);
}

function readConfig(file: string, io: OperatorIo): Config | undefined {
  try {
    return loadConfigWithoutSecrets(file);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    printFaults(file, error, io);
    return undefined;
  }
}

/** The claims in `file`, or what is wrong with it. */
function readClaims(file: string): Record<string, JsonValue> | string {
  try {
    const claims = JSON.parse(readFileSync(file, "utf8")) as JsonValue;
    if (typeof claims === "object" && claims !== null && !Array.isArray(claims)) return claims;
    return "must hold one JSON object";
  } catch (error) {
    if (error instanceof SyntaxError) return "is not JSON";
    return `can't be read (${error instanceof Error && "code" in error ? String(error.code) : "unknown fault"})`;
  }
}

function jsonOf(config: Config, { identity, refusal, ...known }: Explanation): Record<string, unknown> {
  const who = identity && { directory: identity.directory, subject: identity.subject, email: identity.email };
  return {
    ...known,
    ...who,
    mappingVersion: config.mapping.version,
    ...(refusal && { refused: { code: refusal.code, message: refusal.message, ...reason(refusal.code) } }),
  };
}

function tablesOf({ provider, identity, sessionName, tags, trace }: Explanation): string {
  const who = identity && [
    ["provider", provider],
    ["directory", identity.directory],
    ["subject", identity.subject],
    ["email", identity.email],
    ["session name", sessionName ?? ""],
  ];
  const rules = trace?.map(({ tag, rule, claim = "", outcome, value = "" }) => [tag, rule, claim, outcome, value]);
  return [
    who && table(who),
    tags && table([["TAG", "VALUE"], ...Object.entries(tags)]),
    rules && table([["TAG", "RULE", "CLAIM", "OUTCOME", "VALUE"], ...rules]),
  ]
    .filter((part) => part !== undefined)
    .join("\n");
}

/** Columns as wide as their longest cell, two spaces apart. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows.reduce<number[]>((most, row) => row.map((cell, i) => Math.max(most[i] ?? 0, cell.length)), []);
  const line = (row: readonly string[]): string => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ");
  return rows.map((row) => `${line(row).trimEnd()}\n`).join("");
}
