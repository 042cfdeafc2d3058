import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AuditEvent } from "../../src/flow/audit-event.ts";
import type { CheckpointKey, CheckpointVerifier } from "../../src/ledger/checkpoint.ts";
import { readEntries } from "../../src/ledger/log-reader.ts";
import { readLedger, type LedgerPlace } from "../../src/ledger/place.ts";
import type { LedgerEntry } from "../../src/ledger/row.ts";
import { verifyLog, type VerifyOptions, type VerifyReport } from "../../src/ledger/verify.ts";

const pair = generateKeyPairSync("ed25519");

export const CHECKPOINT_KEY: CheckpointKey = { name: "rolecall.acme.example/ledger", privateKey: pair.privateKey };
export const VERIFIER: CheckpointVerifier = { name: CHECKPOINT_KEY.name, publicKey: pair.publicKey };

/** A folder of the test's own, and how to be rid of it. */
export function temporaryFolder(): { folder: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), "rolecall-ledger-"));
  return {
    folder,
    remove: () => {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export function requested(requestId: string, more: Partial<AuditEvent> = {}): AuditEvent {
  return { type: "credentials.requested", requestId, provider: "okta", email: "jane@acme.example", ...more };
}

export function issued(requestId: string, more: Partial<AuditEvent> = {}): AuditEvent {
  return { type: "credentials.issued", requestId, provider: "okta", outcome: "success", ...more };
}

export function boundEvent(person: { directory: string; subject: string }, sessionName: string): AuditEvent {
  return { type: "identity.bound", ...person, sessionName, outcome: "success" };
}

/** All that the ledger holds, read as an operator would. */
export async function entriesAt(place: LedgerPlace): Promise<LedgerEntry[]> {
  const db = await readLedger(place);
  try {
    return await Array.fromAsync(readEntries(db));
  } finally {
    await db.destroy();
  }
}

export function entriesOf(file: string): Promise<LedgerEntry[]> {
  return entriesAt({ file });
}

export async function verifyAt(place: LedgerPlace, options: VerifyOptions = {}): Promise<VerifyReport> {
  const db = await readLedger(place);
  try {
    return await verifyLog(db, { verifier: VERIFIER, ...options });
  } finally {
    await db.destroy();
  }
}

export function verifyFile(file: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  return verifyAt({ file }, options);
}
