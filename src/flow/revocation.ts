import type { AuditEvent } from "./audit-event.ts";
import type { Person, Revocable, RevocationEntry } from "./holder.ts";

/** Who acts for whom, and why, as an operator's command or an admin's page knows it. */
export interface Order {
  readonly actor: string;
  /** The operator's own words, for the record. */
  readonly note: string;
}

/** A revocation with what its row says about it; personal facts are undefined where they have been erased. */
export interface RecordedRevocation {
  readonly what: Revocable;
  readonly effect: RevocationEntry["effect"];
  readonly seq: number;
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly about: About;
  readonly actor: string | undefined;
  readonly note: string | undefined;
}

/** Whose it is that is revoked, as far as the record knows. */
export type About = Pick<AuditEvent, "provider" | "directory" | "subject" | "email" | "sessionName">;

/** What the record's side of {@link revoke} does. */
export interface RevocationLedger {
  /** Every revocation, in the order of the log. */
  revocations(): Promise<RecordedRevocation[]>;
  /** Whose sign-in has this ID (`requestId` of its row); undefined: no sign-in has. */
  signIn(id: string): Promise<About | undefined>;
  /** Whose grant has this ID, by the last row that names it; undefined: no row does. */
  grant(id: string): Promise<About | undefined>;
  /**
   * Writes the revocation and its event in one transaction; from its end on, on every instance, nothing is issued
   * against it. Rejects with a Refusal `ledger_unavailable`, or a {@link Conflict}: nobody to lift it from.
   */
  revoke(what: Revocable, effect: RevocationEntry["effect"], event: AuditEvent): Promise<{ seq: number }>;
}

/** The record says otherwise than whoever gave an order thought. `message` is one sentence for them. */
export class Conflict extends Error {
  override readonly name = "Conflict";
}

/** Ends what is named, for ever; a person is kept out until {@link lift}. `about`: whose it is, for the record. */
export async function revoke(
  ledger: RevocationLedger,
  what: Revocable,
  about: About,
  order: Order,
): Promise<{ seq: number }> {
  const { actor, note } = order;
  return ledger.revoke(what, "revoked", {
    type: "session.revoked",
    ...about,
    ...named(what),
    outcome: "success",
    reason: what.scope === "person" ? "person_revoked" : "session_revoked",
    actor,
    note,
  });
}

/** Lets a person in again; what they had before stays ended. */
export async function lift(
  ledger: RevocationLedger,
  person: Person,
  about: Pick<AuditEvent, "email" | "sessionName">,
  { actor, note }: Order,
): Promise<{ seq: number }> {
  const what = { scope: "person", directory: person.directory, subject: person.subject } as const;
  return ledger.revoke(what, "lifted", {
    type: "admin.action",
    ...about,
    ...named(what),
    outcome: "success",
    actor,
    note,
  });
}

function named(what: Revocable): Partial<AuditEvent> {
  return { ...what };
}
