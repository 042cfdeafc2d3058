import type { Config } from "../config/config.ts";
import { KeyFileError } from "./key-file.ts";
import { importCheckpointKey, readCheckpointKey, type CheckpointSigningKey } from "./key-format.ts";
import type { KeyFile } from "./stored-keys.ts";

/**
 * The key that signs the record's checkpoints: from where the configuration's `checkpointKey` says, or else from
 * keys.json. Throws {@link KeyFileError} where it is none, or in neither place.
 */
export function checkpointKeyOf(
  { checkpoint }: Pick<KeyFile, "checkpoint">,
  { checkpointKey }: Pick<Config, "checkpointKey">,
): CheckpointSigningKey {
  if (checkpointKey !== undefined) return elsewhere(checkpointKey);
  if (checkpoint !== undefined) return importCheckpointKey(checkpoint);
  throw new KeyFileError("keys.json has no checkpoint key: say in the configuration's checkpointKey where it is");
}

function elsewhere(text: string): CheckpointSigningKey {
  try {
    return readCheckpointKey(text);
  } catch (error) {
    throw new KeyFileError(`what checkpointKey leads to ${error instanceof Error ? error.message : "can't be read"}`);
  }
}
