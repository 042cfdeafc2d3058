import { createHash } from "node:crypto";
import { Refusal } from "./errors.ts";

/** A person, as everything that lasts knows one. */
export interface Person {
  readonly directory: string;
  readonly subject: string;
}

/** Who acts, and by which sign-in and grant: what revocations are held against. */
export interface Holder extends Person {
  /** Epoch milliseconds. */
  readonly signedInAt?: number;
  /** The sign-in's own row; left out: it counts as older than any revocation. */
  readonly signIn?: { readonly id: string; readonly seq: number };
  /** As {@link recordedGrantId} has it. */
  readonly grantId?: string;
}

/**
 * What can be revoked: one sign-in (the browser's session, and every command line that was let in by it), one command
 * line's grant, a person, or every sign-in that there is.
 */
export type Revocable =
  | { readonly scope: "session"; readonly signInId: string }
  | { readonly scope: "grant"; readonly grantId: string }
  | ({ readonly scope: "person" } & Person)
  | { readonly scope: "everyone" };

/** A revocation, or its end, as it stands in the ledger's database. */
export interface RevocationEntry {
  readonly target: string;
  readonly effect: "revoked" | "lifted";
  /** Of its row. */
  readonly seq: number;
  /** ISO 8601, UTC. */
  readonly time: string;
}

/** One string for what is revoked, in which no part can pass for another. */
export function targetOf(what: Revocable): string {
  switch (what.scope) {
    case "session":
      return `session ${what.signInId}`;
    case "grant":
      return `grant ${what.grantId}`;
    case "person":
      return `person ${JSON.stringify([what.directory, what.subject])}`;
    case "everyone":
      return "everyone";
  }
}

/** {@link targetOf} read back. */
export function revocableOf(target: string): Revocable {
  const [scope = ""] = target.split(" ", 1);
  const rest = target.slice(scope.length + 1);
  if (scope === "session") return { scope, signInId: rest };
  if (scope === "grant") return { scope, grantId: rest };
  if (scope === "everyone") return { scope };
  const [directory = "", subject = ""] = JSON.parse(rest) as string[];
  return { scope: "person", directory, subject };
}

/** The targets of which a revocation stops the holder. */
export function targetsOf({ directory, subject, signIn, grantId }: Holder): string[] {
  return [
    targetOf({ scope: "everyone" }),
    targetOf({ scope: "person", directory, subject }),
    ...(signIn === undefined ? [] : [targetOf({ scope: "session", signInId: signIn.id })]),
    ...(grantId === undefined ? [] : [targetOf({ scope: "grant", grantId })]),
  ];
}

/** The name by which the record knows a grant: it opens nothing. 128 bits of SHA-256, hex. */
export function recordedGrantId(grantId: string): string {
  return createHash("sha256").update(grantId).digest("hex").slice(0, 32);
}

/** Whether the person is kept out now; `entries` in the order of the log. */
export function isKeptOut(person: Person, entries: readonly RevocationEntry[]): boolean {
  const target = targetOf({ scope: "person", directory: person.directory, subject: person.subject });
  return entries.findLast((entry) => entry.target === target)?.effect === "revoked";
}

/**
 * Returns where nothing stops the holder; throws Refusal `person_revoked` or `session_revoked`. What began before a
 * revocation stays ended when that is lifted. Before: by the order of the log, which no clock can mislead, or by the
 * clock, so that a log that was restored to an older state lets nobody slip past.
 */
export function requireNotRevoked(holder: Holder, entries: readonly RevocationEntry[]): void {
  if (isKeptOut(holder, entries)) throw new Refusal("person_revoked", "the person's access has been revoked");
  const targets = new Set(targetsOf(holder));
  const { signIn = { seq: 0 }, signedInAt = 0 } = holder;
  const ended = entries.some(
    ({ target, effect, seq, time }) =>
      effect === "revoked" && targets.has(target) && (signIn.seq < seq || !(signedInAt > Date.parse(time))),
  );
  if (ended) throw new Refusal("session_revoked", "the sign-in or the grant has been revoked");
}
