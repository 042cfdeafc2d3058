import { createHash, randomBytes } from "node:crypto";
import canonicalize from "canonicalize";
import { PERSONAL_KEYS, type AuditEvent } from "../flow/audit-event.ts";
import type { JsonValue } from "../flow/identity.ts";
import { leafHash } from "./merkle.ts";

/** Bytes of salt before a personal record's digest: nobody can guess an email back out of the chained row. */
const SALT_BYTES = 16;

/** An event as it is stored: the chained row, and beside it what can be erased. */
export interface ComposedRow {
  readonly seq: number;
  /** ISO 8601, UTC, milliseconds. */
  readonly time: string;
  /** Canonical JSON (RFC 8785): the leaf of the tree. */
  readonly text: string;
  readonly leaf: Buffer;
  readonly personal: { readonly salt: string; readonly text: string } | undefined;
}

/**
 * `event` as row `seq`. Its personal keys go into a record of their own, of which the row holds only the salted
 * digest. A lone surrogate, which canonical JSON can't hold, becomes U+FFFD: a record that says so beats none.
 */
export function composeRow(event: AuditEvent, seq: number, time: string): ComposedRow {
  const chained: Record<string, unknown> = {};
  const personal: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(event) as [string, unknown][]) {
    if (value === undefined) continue;
    ((PERSONAL_KEYS as readonly string[]).includes(key) ? personal : chained)[key] = value;
  }
  const record = Object.keys(personal).length === 0 ? undefined : composePersonal(personal);
  const text = canonicalJson({ ...chained, seq, time, ...(record && { personal: record.digest }) });
  return { seq, time, text, leaf: leafHash(text), personal: record };
}

/** Whose a session name is, as an `identity.*` row holds it: to be proven also when the personal record is gone. */
export function ownerDigest(owner: {
  readonly salt: string;
  readonly directory: string;
  readonly subject: string;
  readonly sessionName: string;
  readonly generation: number;
}): string {
  const { salt, directory, subject, sessionName, generation } = owner;
  return personalDigest(salt, canonicalJson({ directory, subject, sessionName, generation }));
}

/** What a revocation was about, as its row holds it. */
export function revocationDigest(revocation: {
  readonly salt: string;
  readonly target: string;
  readonly effect: string;
}): string {
  const { salt, target, effect } = revocation;
  return personalDigest(salt, canonicalJson({ target, effect }));
}

/** Hex. */
export function newSalt(): string {
  return randomBytes(SALT_BYTES).toString("hex");
}

function composePersonal(personal: Record<string, unknown>): { salt: string; text: string; digest: string } {
  const salt = newSalt();
  const text = canonicalJson(personal);
  return { salt, text, digest: personalDigest(salt, text) };
}

/** SHA-256(salt || canonical JSON), hex; `salt` is hex too. */
export function personalDigest(salt: string, text: string): string {
  return createHash("sha256").update(Buffer.from(salt, "hex")).update(text, "utf8").digest("hex");
}

/** RFC 8785. Throws where JSON has no form for a value (NaN, Infinity, a cycle). */
export function canonicalJson(value: unknown): string {
  try {
    return canonicalize(value) ?? "null";
  } catch {
    // A lone surrogate somewhere, which is rare. What JSON has no form for throws again.
    return canonicalize(wellFormed(value)) ?? "null";
  }
}

function wellFormed(value: unknown): unknown {
  if (typeof value === "string") return value.toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value) as [string, unknown][];
  return Object.fromEntries(entries.map(([key, inner]) => [key.toWellFormed(), wellFormed(inner)]));
}

/** A row as its readers see it: the event with its place and time; personal keys unless they have been erased. */
export type LedgerEntry = AuditEvent & {
  readonly seq: number;
  readonly time: string;
  /** Digest of the personal record. */
  readonly personal?: string;
};

/** Row and personal record put together again; `personal` is null where there is none, or no longer. */
export function readEntry(text: string, personal: string | null): LedgerEntry {
  const row = JSON.parse(text) as Record<string, JsonValue>;
  const record = personal === null ? {} : (JSON.parse(personal) as Record<string, JsonValue>);
  // The chained row has the last word: a record beside it can't pass itself off as one of its keys.
  return { ...record, ...row } as unknown as LedgerEntry;
}

/** The event that an entry was made of: without what the ledger gave. */
export function eventOf(entry: LedgerEntry): AuditEvent {
  const given = ["seq", "time", "personal"];
  return Object.fromEntries(Object.entries(entry).filter(([key]) => !given.includes(key))) as unknown as AuditEvent;
}
