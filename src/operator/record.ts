import { stat } from "node:fs/promises";
import { userInfo } from "node:os";
import { Refusal } from "../flow/errors.ts";
import { printable } from "../flow/printable.ts";
import { Conflict } from "../flow/revocation.ts";
import { openLedger, type Ledger } from "../ledger/ledger.ts";
import type { LedgerPlace } from "../ledger/place.ts";
import type { OperatorIo } from "./check.ts";

/** An operator waits longer than a request may (milliseconds): a list of everybody is read whole. */
const PATIENCE = 15_000;

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Wrong usage: something is named that is not there. */
export class UsageFault extends Error {
  override readonly name = "UsageFault";
}

/**
 * What `work` makes of the record, open beside running brokers. Exit codes: `work`'s own; 1, and why, where the record
 * can't be had or says no; 2 where a {@link UsageFault} says so, or no record is there.
 */
export async function withRecord(
  place: LedgerPlace,
  io: OperatorIo,
  work: (ledger: Ledger) => Promise<number>,
): Promise<number> {
  let ledger: Ledger | undefined;
  try {
    await requireThere(place);
    ledger = await openLedger({ ...place, log: silent, deadlineMs: PATIENCE });
    return await work(ledger);
  } catch (error) {
    if (!(error instanceof Refusal || error instanceof Conflict || error instanceof UsageFault)) throw error;
    // It may name accounts, whose subjects an import took as they were written.
    io.err(`error: ${printable(error.message)}\n`);
    return error instanceof UsageFault ? 2 : 1;
  } finally {
    await ledger?.close();
  }
}

/** Opening would make a new one, which is nobody's record. */
async function requireThere(place: LedgerPlace): Promise<void> {
  if ("url" in place) return;
  const there = await stat(place.file).then(
    () => true,
    () => false,
  );
  if (!there) throw new UsageFault(`there is no record at ${place.file}`);
}

/** Who gave the command, as the machine knows them: also behind sudo. */
export function operatorName(env: OperatorIo["env"]): string {
  return `operator ${env["SUDO_USER"] ?? userInfo().username}`;
}
