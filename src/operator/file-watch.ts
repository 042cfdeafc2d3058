import { realpathSync, statSync, watch, type FSWatcher } from "node:fs";
import { dirname } from "node:path";

/** Between two looks that must agree (milliseconds): an editor or a copy is done by then. */
const SETTLE = 200;
/** How many looks must agree, and how many where a file is missing: who replaces it may have taken it away first. */
const LOOKS = 2;
const LOOKS_AT_NOTHING = 10;
/** For what no notice comes of: network file systems, a folder that was itself replaced (milliseconds). */
const LOOK_ANYWAY = 15_000;

/**
 * Calls `onChange` when one of the files that it follows has changed and been left alone for a moment. The folders are
 * watched, not the files: editors put another file in the old one's place, and Kubernetes moves a symbolic link. Keeps
 * no process alive.
 */
export class FileWatch {
  readonly #onChange: () => void;
  readonly #anyway: NodeJS.Timeout;
  #files: readonly string[] = [];
  #watchers: readonly FSWatcher[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** The look at which `onChange` was called last. */
  #reported = "";
  #settling = { look: "", times: 0 };
  #closed = false;

  constructor(onChange: () => void, lookAnyway: number = LOOK_ANYWAY) {
    this.#onChange = onChange;
    this.#anyway = setInterval(() => {
      this.#watchFolders();
      this.#wake();
    }, lookAnyway).unref();
  }

  /** Files that are new to it count as changed, since nobody knows what they were when they were read. */
  follow(files: readonly string[]): void {
    if (this.#closed || files.join("\0") === this.#files.join("\0")) return;
    this.#files = files;
    this.#watchFolders();
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#anyway);
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers) watcher.close();
  }

  #watchFolders(): void {
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [...new Set(this.#files.flatMap(foldersOf))].flatMap((folder) => this.#watchFolder(folder));
  }

  /** None where the folder is missing, or the system has no more watches: then there are still the looks. */
  #watchFolder(folder: string): FSWatcher[] {
    try {
      const watcher = watch(folder, { persistent: false }, () => {
        this.#wake();
      });
      return [
        watcher.on("error", () => {
          watcher.close();
        }),
      ];
    } catch {
      return [];
    }
  }

  #wake(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#look();
    }, SETTLE).unref();
  }

  #look(): void {
    const stamps = this.#files.map(stampOf);
    const look = JSON.stringify([this.#files, stamps]);
    const times = look === this.#settling.look ? this.#settling.times + 1 : 1;
    this.#settling = { look, times };
    if (look === this.#reported) return;
    if (times < (stamps.includes(undefined) ? LOOKS_AT_NOTHING : LOOKS)) {
      this.#wake();
      return;
    }
    this.#reported = look;
    this.#onChange();
  }
}

/** Where a change of the file shows: its own folder, and that of what a symbolic link leads to. */
function foldersOf(file: string): string[] {
  try {
    return [dirname(file), dirname(realpathSync(file))];
  } catch {
    return [dirname(file)];
  }
}

/** What differs when the content may; undefined where there is no such file. */
function stampOf(file: string): string | undefined {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
  } catch {
    return undefined;
  }
}
