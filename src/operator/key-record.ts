import { userInfo } from "node:os";
import type { Config } from "../config/config.ts";
import { loadConfigOfLedger } from "../config/load.ts";
import { recordKeyChanges } from "../keys-in-force.ts";
import { checkpointKeyOf } from "../keys/checkpoint-key.ts";
import { allStanding, changesBetween, type KeyChange } from "../keys/key-changes.ts";
import { changeKeys, KeyFileError, keysPath, readKeys } from "../keys/key-file.ts";
import type { KeyStanding } from "../keys/key-states.ts";
import type { KeyFile, StoredKey } from "../keys/stored-keys.ts";
import { openLedger } from "../ledger/ledger.ts";
import { configuredPlace } from "../ledger/place.ts";

export interface RecordedChange {
  readonly changes: readonly KeyChange[];
  /** As all keys stand now. */
  readonly standing: readonly KeyStanding<StoredKey>[];
}

type Change = (keys: KeyFile) => KeyFile | Promise<KeyFile>;

/**
 * Changes the keys of the configuration in `file`, once the ledger has `key.changed` for each, with whoever is logged in
 * as its actor. `now`: epoch milliseconds. Rejects, with nothing changed, where either can't be done.
 */
export async function changeOnRecord(
  file: string,
  env: Readonly<Record<string, string | undefined>>,
  now: number,
  prepare: (config: Config) => Change | Promise<Change>,
): Promise<RecordedChange> {
  const config = loadConfigOfLedger(file, env);
  const { stateDir } = config;
  const keys = await readKeys(stateDir, now);
  if (keys === undefined) {
    throw new KeyFileError(`there is no ${keysPath(stateDir)}: the broker makes it at its first start`);
  }
  const change = await prepare(config);
  const checkpointKey = checkpointKeyOf(keys, config);
  const ledger = await openLedger({ ...configuredPlace(config), checkpointKey, log: SILENT });
  try {
    let changes: readonly KeyChange[] = [];
    const after = await changeKeys(stateDir, now, change, (before, next) => {
      changes = changesBetween(allStanding(before, now), allStanding(next, now));
      return recordKeyChanges(ledger, changes, userInfo().username);
    });
    return { changes, standing: allStanding(after, now) };
  } finally {
    await ledger.close();
  }
}

/** A command says what came of it, and has no log beside that. */
const SILENT = { info: () => undefined, warn: () => undefined, error: () => undefined };
