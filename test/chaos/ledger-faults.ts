import { execFile } from "node:child_process";
import { chmod, stat } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { FaultKind } from "./fault.ts";
import type { LedgerKind, Site } from "./site.ts";

const POSTGRES: readonly FaultKind[] = [
  ...(["fast", "crash"] as const).map((how) => ({
    name: `postgres: server stopped (${how})`,
    targets: ["postgres"],
    begin: async ({ postgres }: Site) => {
      await postgres?.stop(how);
      return () => postgres?.start();
    },
  })),
  {
    name: "postgres: the log's lock held by another session",
    targets: ["postgres"],
    async begin({ database }) {
      const session = await database?.session();
      await session?.query("begin");
      await session?.query("select pg_advisory_xact_lock(8245928625453493356)");
      return () => session?.end();
    },
  },
  {
    name: "postgres: the right to insert taken away",
    targets: ["postgres"],
    async begin({ database }) {
      await database?.query("revoke insert on rows from broker");
      return () => database?.query("grant insert on rows to broker");
    },
  },
  {
    name: "postgres: connections ended",
    targets: ["postgres"],
    async begin({ database }) {
      await database?.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'broker'");
      return () => undefined;
    },
  },
];

const fileOf = ({ folder }: Site): string => join(folder, "ledger.db");

const DISK: readonly FaultKind[] = [
  {
    name: "sqlite: file read-only",
    targets: ["disk"],
    async begin(site) {
      await chmod(fileOf(site), 0o400);
      return () => chmod(fileOf(site), 0o600);
    },
  },
  {
    name: "sqlite: folder read-only",
    targets: ["disk"],
    async begin({ folder }) {
      await chmod(folder, 0o500);
      return () => chmod(folder, 0o700);
    },
  },
  {
    name: "sqlite: locked by another process",
    targets: ["disk"],
    async begin(site) {
      const other = new DatabaseSync(fileOf(site), { timeout: 0 });
      await lock(other);
      return () => {
        other.close();
      };
    },
  },
  {
    name: "sqlite: disk full",
    targets: ["disk", "broker"],
    async begin(site, amount) {
      // Nothing at all can be written, or nothing more than what the write-ahead log has room for.
      const room = amount < 0.5 ? 0 : (await stat(`${fileOf(site)}-wal`).catch(() => ({ size: 0 }))).size;
      await limitFiles(site, String(room));
      return () => limitFiles(site, "unlimited");
    },
  },
];

/** Waits for its turn without holding up this process. */
async function lock(db: DatabaseSync): Promise<void> {
  for (let tries = 0; tries < 1000; tries += 1) {
    try {
      db.exec("begin immediate");
      return;
    } catch {
      await delay(2);
    }
  }
}

/** As far as the brokers can tell, the disk has room for files of so many bytes (setrlimit(2), RLIMIT_FSIZE). */
async function limitFiles({ fleet }: Site, bytes: string): Promise<void> {
  const limits = fleet.running().map(({ pid }) => ["--pid", String(pid), `--fsize=${bytes}:unlimited`]);
  await Promise.all(limits.map((limit) => promisify(execFile)("prlimit", limit)));
}

/** What can be done to the PostgreSQL server itself, or to the SQLite file and the disk that it lies on. */
export function ledgerFaults(ledger: LedgerKind): readonly FaultKind[] {
  return ledger === "postgres" ? POSTGRES : DISK;
}
