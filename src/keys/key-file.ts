import { mkdir, open, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { importKeys, readKeyFile, type KeyFile, type Keys, type SigningAlgorithm } from "./key-format.ts";
import { newKeyFile } from "./new-keys.ts";

/** How long another process's change of the file is waited for (milliseconds); it takes a few. */
const LOCK_PATIENCE = 2_000;

/** The keys can't be used: the message says which file, what is wrong with it, and never what it holds. */
export class KeyFileError extends Error {
  override readonly name = "KeyFileError";
}

export interface KeyOptions {
  /** `aws.signingAlgorithm`: that of the active federation key. */
  readonly signingAlgorithm: SigningAlgorithm;
  /** The host of `baseUrl`: the name that checkpoints are signed under, fixed when the file is made. */
  readonly origin: string;
}

/**
 * The broker's keys from `keys.json` in `stateDir`. Made on the first start (folder 0700, file 0600), whole or not at
 * all, and once: of several processes that start together, all get the same keys. Another `signingAlgorithm` than the
 * active key's adds a key in front and keeps the older ones published. Rejects with {@link KeyFileError} where others
 * can read the file or write to its folder, and where it is broken: a broken file is never replaced by new keys.
 */
export async function openKeys(stateDir: string, options: KeyOptions): Promise<Keys> {
  const path = join(stateDir, "keys.json");
  try {
    await prepareFolder(stateDir);
    const keys = await importKeys((await load(path)) ?? (await change(path, options)));
    if (keys.federation[0].algorithm === options.signingAlgorithm) return keys;
    return await importKeys(await change(path, options));
  } catch (error) {
    if (error instanceof KeyFileError) throw error;
    throw new KeyFileError(`${path} ${describe(error)}`);
  }
}

/**
 * What the file holds once it has an active key of the wanted algorithm. As git does it, the new content is written to
 * a file that only one process can make, which then takes the old one's place.
 */
async function change(path: string, options: KeyOptions): Promise<KeyFile> {
  // Made before the lock is taken, so that it is held for a moment only.
  const fresh = await newKeyFile(options.signingAlgorithm, options.origin, new Date());
  const lock = `${path}.lock`;
  const handle = await takeLock(lock);
  try {
    const current = await load(path);
    const next = current === undefined ? fresh : withActive(current, fresh.federation, options.signingAlgorithm);
    await handle.writeFile(`${JSON.stringify(next, undefined, 2)}\n`);
    await handle.sync();
    await rename(lock, path);
    await syncFolder(dirname(path));
    return next;
  } catch (error) {
    // A full disk must not lock out the next start. After the rename a lock would be another process's own.
    await rm(lock, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

/** Keys that a power cut could take back would leave AWS trusting a key that nobody has. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** With a key of that algorithm in front: one that was active before, else the fresh one. None is dropped. */
function withActive(file: KeyFile, [fresh]: KeyFile["federation"], algorithm: SigningAlgorithm): KeyFile {
  const active = file.federation.find((key) => key.algorithm === algorithm) ?? fresh;
  if (active === undefined) return file;
  return { ...file, federation: [active, ...file.federation.filter((key) => key !== active)] };
}

async function takeLock(lock: string): Promise<FileHandle> {
  for (let waited = 0; ; waited += 20) {
    try {
      return await open(lock, "wx", 0o600);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
      if (waited >= LOCK_PATIENCE) {
        throw new KeyFileError(`${lock} is in the way: remove it unless another broker is starting just now`);
      }
    }
    await delay(20);
  }
}

/** Undefined where there is no file yet. Mode and content are of one open file, whatever happens to the name. */
async function load(path: string): Promise<KeyFile | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    const { mode, uid } = await handle.stat();
    if ((mode & 0o077) !== 0) throw new KeyFileError(`${path} can be read or written by others: chmod 600 it`);
    if (!trusted(uid)) throw new KeyFileError(`${path} belongs to another user`);
    return readKeyFile(await handle.readFile("utf8"));
  } finally {
    await handle.close();
  }
}

/** Whoever can write to the folder can put other keys in the file's place. */
async function prepareFolder(stateDir: string): Promise<void> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const { mode, uid } = await stat(stateDir);
  if ((mode & 0o022) !== 0) throw new KeyFileError(`${stateDir} can be written to by others: chmod 700 it`);
  if (!trusted(uid)) throw new KeyFileError(`${stateDir} belongs to another user`);
}

/** Root, and whom we run as; root itself may run on anybody's files (a mounted volume). */
function trusted(uid: number): boolean {
  const self = process.getuid?.();
  return uid === 0 || uid === self || self === 0;
}

function describe(error: unknown): string {
  const code = codeOf(error);
  if (code !== undefined) return `can't be used: ${code}`;
  return error instanceof Error ? error.message : "can't be used";
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
