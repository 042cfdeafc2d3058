import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  type Stats,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { CommandFailure } from "./failure.ts";
import { say } from "./terminal.ts";

/** Nothing of ours is near this size; a larger file is not ours. */
const LARGEST = 1024 * 1024;

/** Windows has no mode bits and no user IDs: there the profile folder's access list guards the files. */
const HAS_MODES = process.platform !== "win32";

/** The folder exists, is this user's, and nobody else can look into it (0700). Throws a CommandFailure otherwise. */
export function ensurePrivateFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const stats = statSync(folder);
    if (!HAS_MODES) return;
    if (stats.uid !== process.getuid?.()) {
      throw new CommandFailure(`the folder ${folder} belongs to another user`, {
        hint: "run rolecall as that user, or set ROLECALL_HOME to a folder of your own",
      });
    }
    if ((stats.mode & 0o077) !== 0) chmodSync(folder, 0o700);
  } catch (error) {
    throw asFileFailure(error, `the folder ${folder} cannot be used`);
  }
}

/**
 * What `parse` makes of the JSON in a file that only this user can have written and read. Undefined where there is
 * none, and, with a warning on stderr, where it is damaged, too open, another user's or not a plain file.
 */
export function readPrivateJson<T>(path: string, parse: (value: unknown) => T | undefined): T | undefined {
  let text: string | undefined;
  try {
    text = readPrivate(path);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    warnOnce(path, error instanceof CommandFailure ? error.message : reasonOf(error));
    return undefined;
  }
  const parsed = parse(parseJson(text));
  if (parsed === undefined) warnOnce(path, "it is damaged");
  return parsed;
}

const warned = new Set<string>();

/** A file is read again once the lock is held; the person is told one time. */
function warnOnce(path: string, fault: string): void {
  if (warned.has(path)) return;
  warned.add(path);
  say(`rolecall: warning: ${path} is ignored: ${fault}`);
}

function readPrivate(path: string): string {
  // O_NOFOLLOW (absent on Windows): a link laid here by somebody else is not read through.
  const file = openSync(path, constants.O_RDONLY | (HAS_MODES ? constants.O_NOFOLLOW | constants.O_NONBLOCK : 0));
  try {
    const stats = fstatSync(file);
    const fault = privacyFault(stats);
    if (fault !== undefined) throw new CommandFailure(fault);
    return readFileSync(file, "utf8");
  } finally {
    closeSync(file);
  }
}

function privacyFault(stats: Stats): string | undefined {
  if (!stats.isFile()) return "it is not a plain file";
  if (stats.size > LARGEST) return "it is too large";
  if (!HAS_MODES) return undefined;
  if (stats.uid !== process.getuid?.()) return "it belongs to another user";
  if ((stats.mode & 0o077) !== 0) return "other users may read or write it (its mode should be 0600)";
  return undefined;
}

/** Replaces the file in one step, 0600: after a crash there is the old content or the new, on disk, never a part. */
export function writePrivateJson(path: string, value: unknown): void {
  replaceFile(path, `${JSON.stringify(value)}\n`, { mode: 0o600 });
}

/** Replaces the file in one step, keeping `kept`'s mode and owner. Throws a CommandFailure. */
export function replaceFile(
  path: string,
  content: string | Buffer,
  kept: { mode: number; uid?: number; gid?: number },
): void {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  try {
    rmSync(temporary, { force: true });
    const file = openSync(temporary, "wx", 0o600);
    try {
      writeFileSync(file, content);
      if (HAS_MODES) keepOwner(file, kept);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw asFileFailure(error, `${path} cannot be written`);
  }
}

function keepOwner(file: number, kept: { mode: number; uid?: number; gid?: number }): void {
  const { uid, gid } = fstatSync(file);
  if ((kept.uid ?? uid) !== uid || (kept.gid ?? gid) !== gid) fchownSync(file, kept.uid ?? uid, kept.gid ?? gid);
  fchmodSync(file, kept.mode & 0o777);
}

/** The file is gone; true where there was one. */
export function removePrivateFile(path: string): boolean {
  try {
    lstatSync(path);
    rmSync(path, { recursive: true });
    return true;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false;
    throw asFileFailure(error, `${path} cannot be removed`);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `code` of a Node system error, such as ENOENT. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

function reasonOf(error: unknown): string {
  return errorCode(error) ?? "unexpected error";
}

function asFileFailure(error: unknown, sentence: string): CommandFailure {
  if (error instanceof CommandFailure) return error;
  return new CommandFailure(`${sentence}: ${reasonOf(error)}`, {
    hint: "check the folder's permissions and the free space on its disk",
    cause: error,
  });
}
