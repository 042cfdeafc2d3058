import { stat } from "node:fs/promises";
import { copyLedger } from "../ledger/copy.ts";
import { openDatabase } from "../ledger/place.ts";
import type { VerifyReport } from "../ledger/verify.ts";
import type { OperatorIo } from "./check.ts";
import type { ConfiguredLedger } from "./configured-ledger.ts";

/** A long log takes as long as it takes (milliseconds); a lock or a connection is still given up on soon. */
const PATIENCE = 24 * 60 * 60 * 1000;
const LOCK_PATIENCE = 5000;

/**
 * `ledger copy`: what the SQLite file in `stateDir` holds, into the empty PostgreSQL database of `ledger.url`. Exit
 * codes: 0 copied and verified; 1 refused or failed, with nothing written; 2 there is no such file, or no `ledger.url`.
 */
export async function ledgerCopy(
  { ledger, ledgerFile, checkpointKey }: ConfiguredLedger,
  { json }: { json?: true },
  io: OperatorIo,
): Promise<number> {
  if (!("url" in ledger)) return complain(io, "ledger.url is not set: there is nowhere to copy to", 2);
  if (!(await exists(ledgerFile))) return complain(io, `there is no ledger at ${ledgerFile}`, 2);
  try {
    const verifier = await checkpointKey();
    await using from = closing(await openDatabase({ file: ledgerFile }, LOCK_PATIENCE));
    await using to = closing(await openDatabase(ledger, PATIENCE));
    const report = await copyLedger(from.database, to.database, verifier);
    io.out(json ? `${JSON.stringify({ ok: true, ...report })}\n` : describe(report, ledgerFile));
    return 0;
  } catch (error) {
    return complain(io, error instanceof Error ? error.message : "unknown fault", 1);
  }
}

function closing<T extends { close(): Promise<void> }>(database: T): AsyncDisposable & { readonly database: T } {
  return { database, [Symbol.asyncDispose]: () => database.close() };
}

/** Whether something lies there. */
export async function exists(file: string): Promise<boolean> {
  return await stat(file).then(
    () => true,
    () => false,
  );
}

/** The exit code `code`, with what is wrong told. */
export function complain(io: OperatorIo, message: string, code: number): number {
  io.err(`error: ${message}\n`);
  return code;
}

function describe({ rows, root, checkpoints }: VerifyReport, file: string): string {
  return `copied ${rows} rows, root ${root}\n${checkpoints} checkpoints in the log hold, before and after\nkeep ${file} until a backup of PostgreSQL has been made; no broker may write to it any more\n`;
}
