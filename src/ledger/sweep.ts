import type { AuditEvent } from "../flow/audit-event.ts";
import { eventOf, readEntry } from "./row.ts";
import { readSize } from "./tree-store.ts";
import type { LedgerReader } from "./tables.ts";

/**
 * How old a request without an outcome must be before it counts as given up (milliseconds). Longer than any issue
 * takes: two appends, a signature and STS with its retries all have deadlines of seconds. An issue that did come
 * later would be refused its outcome, and so release nothing.
 */
const GIVEN_UP_AFTER = 60_000;

/** Requests closed in one go; more wait for the next. */
const SWEEP_SIZE = 1000;

/** Finds requests that nobody will close, reading each stretch of the log once. */
export class Sweep {
  /** Every request up to this row has its outcome. */
  #closedUpTo = 0;

  /**
   * The `credentials.failed` events (reason `outcome_unknown`) that are due at `now` (epoch milliseconds), each with
   * all that its request said.
   */
  async due(db: LedgerReader, now: number): Promise<AuditEvent[]> {
    const size = await readSize(db);
    const open = await this.#openRequests(db);
    this.#closedUpTo = (open[0]?.seq ?? size + 1) - 1;
    const cutoff = new Date(now - GIVEN_UP_AFTER).toISOString();
    return open.filter(({ time }) => time < cutoff).map(({ row, record }) => outcomeUnknown(row, record));
  }

  async #openRequests(db: LedgerReader): Promise<{ seq: number; time: string; row: string; record: string | null }[]> {
    return await db
      .selectFrom("rows as request")
      .leftJoin("personal", "personal.seq", "request.seq")
      .select(["request.seq", "request.time", "request.row", "personal.record"])
      .where("request.seq", ">", this.#closedUpTo)
      .where("request.type", "=", "credentials.requested")
      .where((eb) =>
        eb.not(
          eb.exists(
            eb
              .selectFrom("rows as outcome")
              .select("outcome.seq")
              .whereRef("outcome.request_id", "=", "request.request_id")
              .where("outcome.type", "in", ["credentials.issued", "credentials.failed"]),
          ),
        ),
      )
      .orderBy("request.seq")
      .limit(SWEEP_SIZE)
      .execute();
  }
}

function outcomeUnknown(row: string, record: string | null): AuditEvent {
  return {
    ...eventOf(readEntry(row, record)),
    type: "credentials.failed",
    outcome: "failed",
    reason: "outcome_unknown",
  };
}
