import { DatabaseError } from "pg";

/**
 * A failure of PostgreSQL or of the way to it. `message` is a sentence for operators without any row's values; it has
 * no `cause`, since pg's own errors carry them (`detail`).
 */
export class PostgresError extends Error {
  override readonly name = "PostgresError";
}

/** Conditions that operators meet, by SQLSTATE (PostgreSQL manual, appendix A). */
const SENTENCES: Readonly<Record<string, string>> = {
  "25006": "this PostgreSQL takes no writes",
  "25P03": "the transaction stood still for too long",
  "28000": "PostgreSQL does not let the broker's role in",
  "28P01": "PostgreSQL does not take the role's password",
  "3D000": "there is no such database",
  "42501": "the broker's role lacks a right",
  "42P01": "the ledger's tables are not there",
  "53100": "PostgreSQL's disk is full",
  "53300": "PostgreSQL has no connection left",
  "55P03": "another session holds the ledger's lock",
  "57014": "PostgreSQL did not answer in time",
  "57P01": "PostgreSQL is stopping",
  "57P03": "PostgreSQL is starting",
};

/** What pg rejected with, as a sentence. */
export function asPostgresError(error: unknown): PostgresError {
  if (error instanceof PostgresError) return error;
  if (error instanceof DatabaseError) {
    const sentence = SENTENCES[error.code ?? ""] ?? `PostgreSQL failed with SQLSTATE ${error.code ?? "unknown"}`;
    // Class 22, data exceptions: the messages quote the data.
    return new PostgresError(error.code?.startsWith("22") ? sentence : `${sentence} (PostgreSQL: ${error.message})`);
  }
  // Where a host has several addresses, the message is empty and the code tells.
  const { message = "", code } = error as { message?: string; code?: string };
  return new PostgresError(`PostgreSQL can't be reached (${message === "" ? (code ?? "unknown fault") : message})`);
}
