import { createPublicKey } from "node:crypto";
import { readFile } from "node:fs/promises";
import { ConfigError } from "../config/config-error.ts";
import { loadConfigOfLedger } from "../config/load.ts";
import type { Config } from "../config/config.ts";
import { checkpointKeyOf } from "../keys/checkpoint-key.ts";
import { keysPath } from "../keys/key-file.ts";
import { readKeyFile } from "../keys/key-format.ts";
import type { KeyFile } from "../keys/stored-keys.ts";
import type { CheckpointVerifier } from "../ledger/checkpoint.ts";
import { configuredPlace, filePlace, type LedgerPlace } from "../ledger/place.ts";
import { printFaults, type OperatorIo } from "./check.ts";

/** Where the configured broker keeps its record. */
export interface ConfiguredLedger {
  /** With the ledger's URL as its only secret. */
  readonly config: Config;
  readonly ledger: LedgerPlace;
  /** The SQLite file in `stateDir`, which is the record where the configuration has no `ledger.url`. */
  readonly ledgerFile: string;
  /** Of keys.json, or of where the configuration says; rejects with an Error that says why it can't be had. */
  readonly checkpointKey: () => Promise<CheckpointVerifier>;
}

/** What `work` makes of the ledger that the configuration in `file` names; 1, and the faults told, where it names none. */
export async function withConfiguredLedger(
  file: string,
  io: OperatorIo,
  work: (ledger: ConfiguredLedger) => Promise<number>,
): Promise<number> {
  try {
    const config = loadConfigOfLedger(file, io.env);
    const { stateDir } = config;
    return await work({
      config,
      ledger: configuredPlace(config),
      ledgerFile: filePlace(stateDir),
      checkpointKey: () => checkpointKeyFor(config),
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    printFaults(file, error, io);
    return 1;
  }
}

async function checkpointKeyFor(config: Config): Promise<CheckpointVerifier> {
  const inFile = async (): Promise<KeyFile> => readKeyFile(await readFile(keysPath(config.stateDir), "utf8"));
  const { name, privateKey } = checkpointKeyOf(config.checkpointKey === undefined ? await inFile() : {}, config);
  return { name, publicKey: createPublicKey(privateKey) };
}
