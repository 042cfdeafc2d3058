import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { compileMapping, type TagRules } from "../flow/tags.ts";
import type { Config } from "./config.ts";
import { ConfigError, type ConfigFault } from "./config-error.ts";
import { connectProvider } from "./connect.ts";
import { readDocument } from "./document.ts";
import { ledgerUrlFault } from "./ledger-url.ts";
import { errorCode, readAllowed, readSecret, type SecretReference, type Surroundings } from "./references.ts";
import { redisUrlFault } from "./redis-url.ts";
import { seconds } from "./checks.ts";
import { checkRules, listenAddress } from "./rules.ts";
import type { ConfigFile } from "./schema.ts";
import { readShape, type Readable } from "./shape.ts";

type AddFault = (path: string, message: string) => void;
type ReadSecret = (reference: SecretReference, path: string) => string;

/**
 * The configuration in `file`, checked whole: YAML, shape, the rules across fields, `allowed` files, secrets, and the
 * mapping compiled. Throws {@link ConfigError} with every fault that can be told at once. Relative paths count from
 * the file's own folder.
 */
export function loadConfig(file: string, env: Surroundings["env"]): Config {
  return load(file, (folder, add) => secretReader({ env, folder }, add));
}

/**
 * The same check without the secrets, which are all "" in what comes back: for commands that talk to nobody, so that
 * somebody without the secrets can try the rules.
 */
export function loadConfigWithoutSecrets(file: string): Config {
  return load(file, undefined);
}

/**
 * The same check with no secrets but the ledger's URL and, where it can be read, the checkpoint key: for commands that
 * read the record and talk to nobody else.
 */
export function loadConfigOfLedger(file: string, env: Surroundings["env"]): Config {
  return load(file, (folder, add) => {
    const read = secretReader({ env, folder }, add);
    return (reference, path) => {
      if (path === "ledger.url") return read(reference, path);
      // Whoever only reads the record may do without it.
      return path === "checkpointKey" ? (readSecret(reference, { env, folder }, () => undefined) ?? "") : "";
    };
  });
}

function secretReader(from: Surroundings, add: AddFault): ReadSecret {
  return (reference, path) => {
    const secret = readSecret(reference, from, (message) => {
      add(path, message);
    });
    return secret ?? "";
  };
}

function load(file: string, secretsFrom: ((folder: string, add: AddFault) => ReadSecret) | undefined): Config {
  const { text, sha256 } = readFile(file);
  const document = readDocument(text);
  if ("faults" in document) throw new ConfigError(document.faults, { sha256, files: [resolve(file)] });
  const folder = dirname(resolve(file));
  const { faults, readable, file: whole } = readShape(document.value);
  const source = { sha256, files: [resolve(file), ...allowedFiles(readable.tags, folder)] };
  const add: AddFault = (path, message) => void faults.push({ path, message });
  faults.push(...checkRules(readable));

  const readSecretAt = secretsFrom?.(folder, add);
  const providers = readable.providers.map((provider, i) => {
    const path = `providers[${i}]`;
    return provider && connectProvider(provider, { path, folder, baseUrl: readable.baseUrl ?? "", readSecretAt, add });
  });
  const redisUrl = readable.redis && readSecretAt?.(readable.redis.url, "redis.url");
  if (redisUrl) checkRedisUrl(redisUrl, readable.environment, add);
  const ledgerUrl = readable.ledger && readSecretAt?.(readable.ledger.url, "ledger.url");
  if (ledgerUrl) checkLedgerUrl(ledgerUrl, readable.environment, add);
  const checkpointKey = readable.checkpointKey && readSecretAt?.(readable.checkpointKey, "checkpointKey");
  const { rules, mapping } = readTags(readable.tags, folder, faults);

  if (faults.length > 0 || !whole || !mapping) throw new ConfigError(faults, source);
  return {
    environment: whole.environment,
    baseUrl: whole.baseUrl,
    listen: listenAddress(whole.listen),
    trustProxy: whole.trustProxy,
    stateDir: resolve(folder, whole.stateDir),
    aws: awsOf(whole.aws),
    providers: providers.filter((provider) => provider !== undefined),
    signInMaxAgeSeconds: seconds(whole.signInMaxAge),
    tags: rules,
    mapping,
    access: whole.access,
    stopDelaySeconds: whole.stopDelay === undefined ? defaultStopDelay(whole.environment) : seconds(whole.stopDelay),
    rateLimits: whole.rateLimits,
    redisUrl,
    ledgerUrl,
    checkpointKey,
    source,
  };
}

/** In development nobody stands in front who would have to notice. */
function defaultStopDelay(environment: Config["environment"]): number {
  return environment === "production" ? 5 : 0;
}

/** Text and digest from one read, so that the digest is of what was taken. */
function readFile(file: string): { text: string; sha256: string } {
  try {
    const bytes = readFileSync(file);
    return { text: bytes.toString("utf8"), sha256: createHash("sha256").update(bytes).digest("hex") };
  } catch (error) {
    const faults = [{ path: "", message: `can't be read (${errorCode(error)}): name it with --config` }];
    throw new ConfigError(faults, { sha256: undefined, files: [resolve(file)] });
  }
}

function allowedFiles(tags: Readable["tags"], folder: string): string[] {
  const lists = Object.values(tags).map((rule) => rule?.allowed);
  return lists.flatMap((list) => (list === undefined || Array.isArray(list) ? [] : [resolve(folder, list.file)]));
}

function awsOf(aws: ConfigFile["aws"]): Config["aws"] {
  const { sessionDuration, samlProviderArn, stsEndpoint, kmsEndpoint, ...rest } = aws;
  return {
    ...rest,
    samlProviderArn,
    sessionDurationSeconds: seconds(sessionDuration),
    stsEndpoint: stsEndpoint ?? undefined,
    kmsEndpoint: kmsEndpoint ?? undefined,
  };
}

function checkRedisUrl(url: string, environment: Readable["environment"], add: AddFault): void {
  const fault = redisUrlFault(url, environment);
  if (fault !== undefined) add("redis.url", fault);
}

function checkLedgerUrl(url: string, environment: Readable["environment"], add: AddFault): void {
  const fault = ledgerUrlFault(url, environment);
  if (fault !== undefined) add("ledger.url", fault);
}

/** The rules with their `allowed` files read, and compiled; what is at fault in a file is named by its line. */
function readTags(
  tags: Readable["tags"],
  folder: string,
  faults: ConfigFault[],
): { rules: TagRules; mapping: Config["mapping"] | undefined } {
  const lineOf = new Map<string, string>();
  let unread = false;
  const rules: Record<string, TagRules[string]> = {};
  for (const [key, rule] of Object.entries(tags)) {
    if (!rule) continue;
    const { allowed, ...rest } = rule;
    if (allowed === undefined || Array.isArray(allowed)) {
      rules[key] = { ...rest, allowed };
      continue;
    }
    const list = readAllowed(allowed.file, { env: {}, folder }, (message) => {
      faults.push({ path: `tags.${key}.allowed.file`, message });
    });
    list?.lines.forEach((line, i) => lineOf.set(`${key}.allowed[${i}]`, `${allowed.file} line ${line}`));
    // A list that can't be read has its fault already; the rest of the rule is still checked.
    unread ||= !list?.values.length;
    rules[key] = { ...rest, allowed: list && list.values.length > 0 ? list.values : undefined };
  }
  const compiled = compileMapping(rules);
  if ("mapping" in compiled) return { rules, mapping: compiled.mapping };
  for (const { path, message } of compiled.faults) {
    // What all tags need together can't be told then.
    if (path === "" && unread) continue;
    const line = lineOf.get(path);
    if (line === undefined) faults.push({ path: path === "" ? "tags" : `tags.${path}`, message });
    else faults.push({ path: `tags.${path.replace(/\[\d+\]$/, ".file")}`, message: `${line}: ${message}` });
  }
  return { rules, mapping: undefined };
}
