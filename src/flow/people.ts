import type { AuditEvent } from "./audit-event.ts";
import type { Person } from "./holder.ts";
import { Conflict, type Order } from "./revocation.ts";
import { hashedSessionName, roleSessionName } from "./session-name.ts";

/** A person with the email by which they are, or want to be, known. */
export interface KnownPerson extends Person {
  readonly email: string;
}

/** One statement that a session name is an account's; the latest of a name counts. */
export interface NameRecord extends Person {
  readonly sessionName: string;
  /** 1 for whoever had the name first, one more each time that it moved. */
  readonly generation: number;
  /** As it was then; undefined: that has been erased. */
  readonly email: string | undefined;
  /** ISO 8601, UTC. */
  readonly since: string;
  /** Of the row that says so. */
  readonly seq: number;
  /** `moved`: another account has the name now, or this one has another name. */
  readonly state: "current" | "moved";
  /** Kept out until that is lifted. */
  readonly revoked: boolean;
}

/** Somebody who was refused because their email stands for another account, and for whom nobody has decided yet. */
export interface Newcomer extends KnownPerson {
  /** Of the last refusal: the person can read it on the page. */
  readonly requestId: string;
  readonly provider: string;
  readonly time: string;
}

/** A name that moves: `to` has it from then on. */
export interface NameChange {
  readonly to: Person;
  readonly sessionName: string;
  /** Who must have it until then; undefined: nobody ever had it. */
  readonly from: Person | undefined;
}

/** Who has which name, as operators and admins see and change it. */
export interface PeopleRegister {
  /** Every name record, in the order of the log. */
  people(): Promise<NameRecord[]>;
  /** Who waits for a decision, one entry a person. */
  newcomers(): Promise<Newcomer[]>;
  /**
   * Writes the change and its event in one transaction. Rejects with a Refusal `ledger_unavailable`, or a
   * {@link Conflict} where the name is not as `change` says, or who has it is kept out.
   */
  rebind(change: NameChange, event: AuditEvent): Promise<{ seq: number }>;
}

/** What came of it: `from` is undefined where the name is new. */
export type Rebound = NameChange & { readonly seq: number };

/**
 * Decides about a newcomer whose email is another account's name. `same-person`: the name moves to the newcomer, and
 * the account that had it is closed. `another-person`: the newcomer gets a name in the hashed form, and nobody loses
 * theirs. Rejects with a {@link Conflict} where there is nothing to decide.
 */
export async function rebindNewcomer(
  register: PeopleRegister,
  newcomer: KnownPerson & { readonly provider?: string },
  who: "same-person" | "another-person",
  order: Order,
): Promise<Rebound> {
  const people = await register.people();
  const wanted = roleSessionName(newcomer);
  const holder = holderOf(people, wanted);
  if (holder === undefined) throw new Conflict(`${wanted} is nobody's: a sign-in is all that it takes`);
  if (isSamePerson(holder, newcomer)) throw new Conflict(`${wanted} is this account's already`);
  const change: NameChange =
    who === "same-person"
      ? { to: newcomer, sessionName: wanted, from: holder }
      : { to: newcomer, sessionName: hashedSessionName(newcomer), from: undefined };
  return await moveName(register, change, newcomer, order);
}

/** Writes one move, whoever decided it. */
export async function moveName(
  register: PeopleRegister,
  change: NameChange,
  { directory, subject, email, provider }: KnownPerson & { readonly provider?: string },
  { actor, note }: Order,
): Promise<Rebound> {
  const { sessionName, from } = change;
  const { seq } = await register.rebind(change, {
    type: "identity.rebound",
    ...(provider !== undefined && { provider }),
    directory,
    subject,
    email,
    sessionName,
    ...(from && { former: { directory: from.directory, subject: from.subject } }),
    outcome: "success",
    actor,
    note,
  });
  return { ...change, seq };
}

/** Whose name it is now. */
export function holderOf(people: readonly NameRecord[], sessionName: string): NameRecord | undefined {
  return people.findLast((record) => record.sessionName === sessionName);
}

export function isSamePerson(a: Person, b: Person): boolean {
  return a.directory === b.directory && a.subject === b.subject;
}

/** Accounts with a name that go by `who`: a session name, an email, or `directory/subject`. */
export function peopleLike(people: readonly NameRecord[], who: string): NameRecord[] {
  const lower = who.toLowerCase();
  return people.filter(
    ({ state, sessionName, email, directory, subject }) =>
      state === "current" &&
      (sessionName === lower || email?.toLowerCase() === lower || `${directory}/${subject}` === who),
  );
}
