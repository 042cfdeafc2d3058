import { Refusal } from "../flow/errors.ts";
import {
  isKeptOut,
  requireNotRevoked,
  targetsOf,
  type Holder,
  type Person,
  type RevocationEntry,
} from "../flow/holder.ts";
import { newSalt, ownerDigest, revocationDigest } from "./row.ts";
import type { LedgerReader, LedgerTables } from "./tables.ts";

type NameRow = LedgerTables["people"];

/** What is to be known: names, and people with what could stop them. */
export interface Asked {
  readonly names: readonly string[];
  readonly holders: readonly Holder[];
}

/** One string for (directory, subject), in which neither part can pass for a piece of the other. */
export function personKey({ directory, subject }: Person): string {
  return JSON.stringify([directory, subject]);
}

/**
 * Who has which session name, and what is revoked, as far as somebody asked: the database's tables `people` and
 * `revocations`, and on top of them what a transaction is about to write.
 */
export class Registry {
  readonly #latestOf = new Map<string, NameRow>();
  readonly #latestNamed = new Map<string, NameRow>();
  readonly #revocations: RevocationEntry[];
  readonly #newNames: NameRow[] = [];
  readonly #newRevocations: LedgerTables["revocations"][] = [];

  constructor(names: readonly NameRow[], revocations: readonly RevocationEntry[]) {
    for (const row of names) this.#know(row);
    this.#revocations = [...revocations];
  }

  /** What stands in the database now; inside a transaction that holds the log's lock, until its end. */
  static async read(db: LedgerReader, asked: Asked): Promise<Registry> {
    return new Registry(await readNames(db, asked), await readRevocations(db, asked.holders));
  }

  /** The name that is this person's; undefined: they never had one. Throws Refusal `name_moved`. */
  nameOf(person: Person): string | undefined {
    const own = this.#latestOf.get(personKey(person));
    if (own === undefined) return undefined;
    if (this.holderOf(own.session_name)?.seq !== own.seq) {
      throw new Refusal("name_moved", "the session name belongs to another account now");
    }
    return own.session_name;
  }

  /** Whose the name is; undefined: nobody ever had it. */
  holderOf(sessionName: string): NameRow | undefined {
    return this.#latestNamed.get(sessionName);
  }

  isKeptOut(person: Person): boolean {
    return isKeptOut(person, this.#revocations);
  }

  /** Throws the Refusal of whoever may not go on, or has another name than `sessionName`. */
  requireMayGoOn(holder: Holder, sessionName: string | undefined): void {
    requireNotRevoked(holder, this.#revocations);
    const own = this.nameOf(holder);
    if (sessionName !== undefined && own !== sessionName) {
      throw new Refusal("name_moved", "the person's session name is another one now");
    }
  }

  /** Adds that the name is the person's, from the row on that `add` makes with this `owner`; returns its seq. */
  addName({ directory, subject }: Person, sessionName: string, add: (owner: string) => number): number {
    const generation = (this.holderOf(sessionName)?.generation ?? 0) + 1;
    const salt = newSalt();
    const seq = add(ownerDigest({ salt, directory, subject, sessionName, generation }));
    const row = { seq, directory, subject, session_name: sessionName, generation, salt };
    this.#know(row);
    this.#newNames.push(row);
    return seq;
  }

  /** Adds a revocation, or its end, by the row that `add` makes with this `revocation`; returns its seq. */
  addRevocation(entry: Omit<RevocationEntry, "seq">, add: (revocation: string) => number): number {
    const { target, effect } = entry;
    const salt = newSalt();
    const seq = add(revocationDigest({ salt, target, effect }));
    this.#revocations.push({ ...entry, seq });
    this.#newRevocations.push({ seq, target, effect, salt });
    return seq;
  }

  /** Writes what was added; the rows that it names must be written already. */
  async write(tx: LedgerReader): Promise<void> {
    if (this.#newNames.length > 0) await tx.insertInto("people").values(this.#newNames).execute();
    if (this.#newRevocations.length > 0) await tx.insertInto("revocations").values(this.#newRevocations).execute();
  }

  /** In the order of the log. */
  #know(row: NameRow): void {
    this.#latestOf.set(personKey(row), row);
    this.#latestNamed.set(row.session_name, row);
  }
}

/** All rows of the names that were asked for, and of those that the people ever had. */
async function readNames(db: LedgerReader, { names, holders }: Asked): Promise<NameRow[]> {
  if (names.length === 0 && holders.length === 0) return [];
  const distinct = new Map(holders.map((holder) => [personKey(holder), holder]));
  const ofHolders = db
    .selectFrom("people as own")
    .select("own.session_name")
    .where((eb) =>
      eb.or(
        [...distinct.values()].map(({ directory, subject }) =>
          eb.and([eb("own.directory", "=", directory), eb("own.subject", "=", subject)]),
        ),
      ),
    );
  return await db
    .selectFrom("people")
    .selectAll()
    .where((eb) =>
      eb.or([
        ...(names.length > 0 ? [eb("session_name", "in", names)] : []),
        ...(distinct.size > 0 ? [eb("session_name", "in", ofHolders)] : []),
      ]),
    )
    .orderBy("seq")
    .execute();
}

async function readRevocations(db: LedgerReader, holders: readonly Holder[]): Promise<RevocationEntry[]> {
  const targets = [...new Set(holders.flatMap(targetsOf))];
  if (targets.length === 0) return [];
  return await db
    .selectFrom("revocations")
    .innerJoin("rows", "rows.seq", "revocations.seq")
    .select(["revocations.target", "revocations.effect", "revocations.seq", "rows.time"])
    .where("revocations.target", "in", targets)
    .orderBy("revocations.seq")
    .execute();
}
