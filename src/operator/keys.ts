import { open } from "node:fs/promises";
import type { Config } from "../config/config.ts";
import { ConfigError } from "../config/config-error.ts";
import { loadConfigWithoutSecrets } from "../config/load.ts";
import { seconds } from "../config/checks.ts";
import { Refusal } from "../flow/errors.ts";
import {
  activeNow,
  allStanding,
  KeyChangeRefused,
  preparedKey,
  withNext,
  withoutKey,
  type KeyChange,
} from "../keys/key-changes.ts";
import { changeKeys, KeyFileError, keysPath, readKeys } from "../keys/key-file.ts";
import { WHEN_TOLD, type KeyStanding, type KeyUse } from "../keys/key-states.ts";
import { newFederationKey, newOauthKey, newSamlKey, newSecretKey, type Beginning } from "../keys/new-keys.ts";
import { KMS_KEY_ARN, type KeyFile, type StoredKey } from "../keys/stored-keys.ts";
import { printFaults, type OperatorIo } from "./check.ts";
import { changeOnRecord } from "./key-record.ts";
import { newKmsKey } from "./kms-key.ts";
import { whatElse } from "./key-advice.ts";

const SHORTEST_DELAY = 60;
const LONGEST_DELAY = 30 * 24 * 60 * 60;

/** `keys list`: every key of keys.json. Exit codes: 0, 1 where there are none or they are broken. */
export function keysList({ config: file, json }: { config: string; json: boolean }, io: OperatorIo): Promise<number> {
  return reported(file, io, async () => {
    const config = loadConfigWithoutSecrets(file);
    const now = Date.now();
    const keys = await readKeys(config.stateDir, now);
    if (keys === undefined) throw new KeyFileError(`there is no ${keysPath(config.stateDir)}`);
    const rows = allStanding(keys, now).map(described);
    const checkpoint = { inKeysJson: keys.checkpoint !== undefined };
    io.out(json ? `${JSON.stringify({ keys: rows, checkpoint })}\n` : table(rows));
    return 0;
  });
}

export interface RotateOptions {
  readonly config: string;
  readonly use: KeyUse;
  /** As in the configuration: `24h`. */
  readonly delay: string;
  readonly now?: true;
  /** The prepared SAML key signs from now on. */
  readonly activate?: true;
  /** An ARN. */
  readonly kms?: string;
  readonly json?: true;
}

/**
 * `keys rotate`: the next key of a use, on record and then in keys.json. Exit codes: 0 done; 1 refused or failed, with
 * nothing changed; 2 wrong usage. `now`: epoch milliseconds, each.
 */
export function keysRotate(options: RotateOptions, io: OperatorIo, now: number = Date.now()): Promise<number> {
  const { config: file, use, kms } = options;
  const misused = activationFault(options);
  if (misused !== undefined) return wrong(io, misused);
  const delay = /^[1-9][0-9]{0,4}[smhd]$/.test(options.delay) ? seconds(options.delay) : 0;
  if (delay < SHORTEST_DELAY || delay > LONGEST_DELAY) return wrong(io, "--delay must be a duration of 1m to 30d");
  if (kms !== undefined && use !== "federation") return wrong(io, "--kms is for federation keys only");
  if (kms !== undefined && !KMS_KEY_ARN.test(kms)) return wrong(io, "--kms must be a key's ARN, not an alias");
  return changed(file, io, options.json, now, async (config) => {
    const beginning = {
      createdAt: new Date(now),
      activeFrom: use === "saml" ? new Date(WHEN_TOLD) : new Date(options.now ? now : now + delay * 1000),
    };
    const remote = kms === undefined ? undefined : await newKmsKey(kms, beginning, config);
    return async (keys) => {
      const waiting = (options.now ?? options.activate) && preparedKey(keys, use, now);
      if (options.activate && !waiting) throw new KeyChangeRefused("no saml key is prepared: keys rotate --use saml");
      if (waiting && remote === undefined) return activeNow(keys, waiting, now);
      return withNext(keys, remote ?? (await newKey(use, beginning, config)), now);
    };
  });
}

function activationFault({ use, now, activate }: RotateOptions): string | undefined {
  if (use === "saml" && now) return "--now is not for saml: AWS must have its certificate first; then --activate";
  if (use !== "saml" && activate) return "--activate is for saml: the others become active by themselves, or --now";
  return undefined;
}

/** `keys revoke KID`. Exit codes: 0 done; 1 refused or failed, with nothing changed. */
export function keysRevoke(
  options: { config: string; kid: string; json?: true },
  io: OperatorIo,
  now: number = Date.now(),
): Promise<number> {
  return changed(options.config, io, options.json, now, (config) => {
    const beginning = { createdAt: new Date(now), activeFrom: new Date(now) };
    return (keys) => withoutKey(keys, options.kid, (use) => newKey(use, beginning, config), now);
  });
}

/** `keys checkpoint --move-to FILE`: the checkpoint key in a file of its own (0600), and no longer in keys.json. */
export function moveCheckpointKey(options: { config: string; file: string }, io: OperatorIo): Promise<number> {
  return reported(options.config, io, async () => {
    const { stateDir } = loadConfigWithoutSecrets(options.config);
    const change = ({ checkpoint, ...rest }: KeyFile): KeyFile => {
      if (checkpoint === undefined) throw new KeyChangeRefused("the checkpoint key is not in keys.json any more");
      return rest;
    };
    // Written before it is taken out: a crash in between leaves it in both places.
    const write = ({ checkpoint }: KeyFile): Promise<void> => writeNew(options.file, JSON.stringify(checkpoint));
    await changeKeys(stateDir, Date.now(), change, write);
    io.out(`the checkpoint key is in ${options.file}\n`);
    io.out(`now put checkpointKey: { file: ${options.file} } into ${options.config}: no broker starts without it\n`);
    return 0;
  });
}

async function writeNew(path: string, text: string): Promise<void> {
  const handle = await open(path, "wx", 0o600);
  try {
    await handle.writeFile(`${text}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function newKey(use: KeyUse, beginning: Beginning, { aws }: Config): Promise<StoredKey> {
  switch (use) {
    case "federation":
      return newFederationKey(aws.signingAlgorithm, beginning);
    case "saml":
      return newSamlKey(beginning);
    case "oauth":
      return newOauthKey(beginning);
    case "cookies":
    case "sealing":
      return Promise.resolve(newSecretKey(use, beginning));
  }
}

type Change = (keys: KeyFile) => KeyFile | Promise<KeyFile>;

/** What `prepare` resolves with, done to keys.json once it is on record, and told. */
function changed(
  file: string,
  io: OperatorIo,
  json: true | undefined,
  now: number,
  prepare: (config: Config) => Change | Promise<Change>,
): Promise<number> {
  return reported(file, io, async () => {
    const { changes, standing } = await changeOnRecord(file, io.env, now, prepare);
    if (json) io.out(`${JSON.stringify({ changes, keys: standing.map(described) })}\n`);
    else io.out(`${changes.map(changeLine).join("")}${whatElse(changes, standing)}`);
    return 0;
  });
}

/** Faults that an operator can do something about are told in their own words. */
async function reported(file: string, io: OperatorIo, work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ConfigError) printFaults(file, error, io);
    else if (isTold(error)) io.err(`error: ${error.message}\n`);
    else throw error;
    return 1;
  }
}

function isTold(error: unknown): error is Error {
  if (error instanceof KeyFileError || error instanceof KeyChangeRefused || error instanceof Refusal) return true;
  // A path that can't be written.
  return error instanceof Error && "syscall" in error;
}

function wrong(io: OperatorIo, message: string): Promise<number> {
  io.err(`error: ${message}\nhint: rolecall-broker keys rotate --help\n`);
  return Promise.resolve(2);
}

function changeLine({ use, kid, from, to }: KeyChange): string {
  return `${use}  ${kid}  ${from === undefined ? to : `${from} -> ${to}`}\n`;
}

type KeyRow = ReturnType<typeof described>;

/** A key without anything secret. */
function described({ key, state, until }: KeyStanding<StoredKey>) {
  const { use, kid, createdAt, activeFrom, revokedAt } = key;
  const federation = key.use === "federation" ? key : undefined;
  return {
    ...{ use, kid, state },
    ...("algorithm" in key && { algorithm: key.algorithm }),
    ...(federation?.kms !== undefined && { kms: federation.kms }),
    createdAt,
    activeFrom: activeFrom === WHEN_TOLD ? undefined : activeFrom,
    ...(revokedAt !== undefined && { revokedAt }),
    ...(until !== undefined && { until: new Date(until).toISOString() }),
  };
}

function table(rows: readonly KeyRow[]): string {
  const head = ["USE", "STATE", "ACTIVE FROM", "UNTIL", "KID", ""];
  const cells = rows.map(({ use, state, activeFrom = "when told", until = "", kid, algorithm = "", kms = "" }) => [
    ...[use, state, activeFrom, until, kid],
    [algorithm, kms].filter((part) => part !== "").join(" "),
  ]);
  const widths = head.map((_, i) => Math.max(...[head, ...cells].map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd();
  return `${[head, ...cells].map(line).join("\n")}\n`;
}
