import { samlMetadata } from "../aws/saml-metadata.ts";
import type { Config } from "../config/config.ts";
import { keysPath, KeyFileError, readKeys } from "../keys/key-file.ts";
import { importKeys } from "../keys/key-format.ts";

/**
 * The metadata that the broker of `config` serves at `BASE/federation/saml/metadata`, from the keys in its `stateDir`; undefined
 * where it does not federate by SAML. Rejects with a KeyFileError where the keys can't be used, or are not there yet.
 */
export async function configuredSamlMetadata({ aws, baseUrl, stateDir }: Config): Promise<string | undefined> {
  if (aws.federation !== "saml") return undefined;
  const now = Date.now();
  const file = await readKeys(stateDir, now);
  const keys = file && (await importKeys(file, now)).saml;
  if (keys === undefined || keys.length === 0) {
    throw new KeyFileError(`${keysPath(stateDir)} has no saml key yet: the broker makes it at its first start`);
  }
  return samlMetadata(
    `${baseUrl}/federation`,
    keys.map(({ certificate }) => certificate),
  );
}
