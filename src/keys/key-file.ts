import { mkdir, open, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { importCheckpointKey, importKeys, readKeyFile } from "./key-format.ts";
import { keysOf } from "./key-format.ts";
import { newKeyFile, newSamlKey } from "./new-keys.ts";
import type { KeyFile, SigningAlgorithm } from "./stored-keys.ts";

/** How long another process's change of the file is waited for (milliseconds); it takes a few. */
const LOCK_PATIENCE = 2_000;

/** The keys can't be used: the message says which file, what is wrong with it, and never what it holds. */
export class KeyFileError extends Error {
  override readonly name = "KeyFileError";
}

export interface KeyOptions {
  /** `aws.signingAlgorithm`: that of new federation keys. */
  readonly signingAlgorithm: SigningAlgorithm;
  /** The host of `baseUrl`: the name that checkpoints are signed under, fixed when the file is made. */
  readonly origin: string;
  /** Whether a key for SAML assertions must be there, and be made where there is none yet. */
  readonly saml?: boolean;
  /** Epoch milliseconds. */
  readonly now?: () => number;
}

/** Where a broker with this `stateDir` has its keys. */
export function keysPath(stateDir: string): string {
  return join(stateDir, "keys.json");
}

/**
 * The broker's keys from `keys.json` in `stateDir`, checked. Made on the first start (folder 0700, file 0600), whole or
 * not at all, and once: of several processes that start together, all get the same keys. Rejects with
 * {@link KeyFileError} where others can read the file or write to its folder, and where it is broken: a broken file is
 * never replaced by new keys.
 */
export async function openKeys(stateDir: string, options: KeyOptions): Promise<KeyFile> {
  const path = keysPath(stateDir);
  const { signingAlgorithm, origin, saml = false, now = Date.now } = options;
  return explained(path, async () => {
    await prepareFolder(stateDir);
    const there = await load(path);
    if (there !== undefined && (!saml || hasSamlKey(there))) return checked(there, now());
    // Made before the lock is taken, so that it is held for a moment only.
    const at = new Date(now());
    const fresh = there ?? (await newKeyFile(signingAlgorithm, origin, at));
    const samlKeys = saml ? [await newSamlKey({ createdAt: at, activeFrom: at })] : [];
    return locked(path, async (replace) => {
      const file = await load(path);
      if (file !== undefined && (!saml || hasSamlKey(file))) return checked(file, now());
      const whole = file ?? fresh;
      return replace({ ...whole, keys: [...whole.keys, ...samlKeys] });
    });
  });
}

function hasSamlKey(file: KeyFile): boolean {
  return keysOf(file, "saml").length > 0;
}

/** The keys as the file has them now, checked; undefined where there is none. Rejects as {@link openKeys} does. */
export async function readKeys(stateDir: string, now: number): Promise<KeyFile | undefined> {
  const path = keysPath(stateDir);
  return explained(path, async () => {
    await prepareFolder(stateDir);
    const file = await load(path);
    return file && checked(file, now);
  });
}

/**
 * Puts what `change` makes of the keys in their place, once `record` has resolved and while nobody else can change them;
 * what either rejects with leaves them as they are. Rejects as {@link openKeys} does, also where there are no keys yet.
 */
export async function changeKeys(
  stateDir: string,
  now: number,
  change: (file: KeyFile) => KeyFile | Promise<KeyFile>,
  record: (before: KeyFile, after: KeyFile) => Promise<void>,
): Promise<KeyFile> {
  const path = keysPath(stateDir);
  return locked(path, async (replace) => {
    const file = await readKeys(stateDir, now);
    if (file === undefined) throw new KeyFileError(`there is no ${path}: the broker makes it at its first start`);
    const next = await checked(await change(file), now);
    await record(file, next);
    return replace(next);
  });
}

async function checked(file: KeyFile, now: number): Promise<KeyFile> {
  await importKeys(file, now);
  if (file.checkpoint) importCheckpointKey(file.checkpoint);
  return file;
}

async function explained<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof KeyFileError) throw error;
    throw new KeyFileError(`${path} ${describe(error)}`);
  }
}

/**
 * `work` while only this process may change the file. As git does it, the new content is written to a file that only
 * one process can make, which then takes the old one's place.
 */
async function locked(
  path: string,
  work: (replace: (next: KeyFile) => Promise<KeyFile>) => Promise<KeyFile>,
): Promise<KeyFile> {
  const lock = `${path}.lock`;
  const handle = await takeLock(lock);
  // After the rename a lock of that name would be another process's own.
  const held = { lock: true };
  try {
    return await work(async (next) => {
      await handle.writeFile(`${JSON.stringify(next, undefined, 2)}\n`);
      await handle.sync();
      await rename(lock, path);
      held.lock = false;
      await syncFolder(dirname(path));
      return next;
    });
  } finally {
    await handle.close();
    // A full disk must not lock out the next start.
    if (held.lock) await rm(lock, { force: true });
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

async function takeLock(lock: string): Promise<FileHandle> {
  for (let waited = 0; ; waited += 20) {
    try {
      return await open(lock, "wx", 0o600);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
      if (waited >= LOCK_PATIENCE) {
        throw new KeyFileError(
          `${lock} is in the way: remove it unless a broker is starting or keys are being changed just now`,
        );
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
