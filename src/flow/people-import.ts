import { isSamePerson, moveName, type KnownPerson, type NameRecord, type PeopleRegister } from "./people.ts";
import type { Person } from "./holder.ts";
import type { LedgerPort } from "./ports.ts";
import type { Order } from "./revocation.ts";
import { roleSessionName } from "./session-name.ts";

/** One line of an import: an account that is to have a session name before its first sign-in. */
export interface ImportRow extends KnownPerson {
  /** In the file, from 1. */
  readonly line: number;
  /** The same human's account until now. */
  readonly previous: Person | undefined;
}

/** What an import does with one line. */
export interface ImportStep {
  readonly line: number;
  readonly to: KnownPerson;
  readonly sessionName: string;
  /** `bind`: a name that nobody ever had; `move`: it is `from`'s until then; `keep`: the account has it already. */
  readonly action: "bind" | "move" | "keep";
  readonly from: NameRecord | undefined;
}

export interface ImportFault {
  readonly line: number;
  readonly message: string;
}

export interface ImportPlan {
  readonly steps: readonly ImportStep[];
  /** Where there is one, nothing may be written. */
  readonly faults: readonly ImportFault[];
}

export interface ImportSettings {
  /** Of the configured providers. */
  readonly directories: readonly string[];
  /** Who brings an email that is another account's name is the same human. */
  readonly samePerson: boolean;
}

/** What stands in the record, found by account and by name. */
class Known {
  readonly directories: ReadonlySet<string>;
  readonly #ofAccount = new Map<string, NameRecord>();
  readonly #ofName = new Map<string, NameRecord>();

  constructor(people: readonly NameRecord[]) {
    this.directories = new Set(people.map(({ directory }) => directory));
    for (const record of people) {
      this.#ofAccount.set(keyOf(record), record);
      this.#ofName.set(record.sessionName, record);
    }
  }

  ofAccount(person: Person): NameRecord | undefined {
    return this.#ofAccount.get(keyOf(person));
  }

  ofName(sessionName: string): NameRecord | undefined {
    return this.#ofName.get(sessionName);
  }
}

/** What the import would do, line by line, and every fault at once. Nothing is written; done twice, it finds nothing to do. */
export function planImport(
  rows: readonly ImportRow[],
  people: readonly NameRecord[],
  settings: ImportSettings,
): ImportPlan {
  const known = new Known(people);
  const steps: ImportStep[] = [];
  const faults: ImportFault[] = [];
  const taken = {
    account: new Map<string, number>(),
    previous: new Map<string, number>(),
    name: new Map<string, number>(),
  };
  const claim = (kind: keyof typeof taken, key: string, line: number): void => {
    const first = taken[kind].get(key);
    if (first !== undefined) throw new RowFault(`has the same ${kind} as line ${first}`);
    taken[kind].set(key, line);
  };
  for (const row of rows) {
    try {
      requireFit(row, settings.directories);
      requireKnownDirectory(row.previous, known, settings.directories);
      claim("account", keyOf(row), row.line);
      if (row.previous) claim("previous", keyOf(row.previous), row.line);
      const step = stepOf(row, known, settings.samePerson);
      claim("name", step.sessionName, row.line);
      steps.push(step);
    } catch (error) {
      if (!(error instanceof RowFault)) throw error;
      faults.push({ line: row.line, message: error.message });
    }
  }
  return { steps, faults };
}

class RowFault extends Error {}

function stepOf(row: ImportRow, known: Known, samePerson: boolean): ImportStep {
  const { line, directory, subject, email, previous } = row;
  const base = { line, to: { directory, subject, email } };
  const own = known.ofAccount(row);
  if (own?.state === "moved")
    throw new RowFault(`is an account whose name ${own.sessionName} has moved to another one`);
  if (own) return { ...base, sessionName: own.sessionName, action: "keep", from: undefined };
  const before = previous && known.ofAccount(previous);
  if (before) return { ...base, sessionName: before.sessionName, action: "move", from: movable(before) };
  const sessionName = roleSessionName(row);
  const holder = known.ofName(sessionName);
  if (!holder) return { ...base, sessionName, action: "bind", from: undefined };
  // A line that names its previous account has said whose name it may take, and this is another one's.
  if (!samePerson || previous) {
    const account = `${holder.directory}/${holder.subject}`;
    throw new RowFault(`wants ${sessionName}, which is ${account}'s: name that as previous, if it is the same human`);
  }
  return { ...base, sessionName, action: "move", from: movable(holder) };
}

/** Whoever is kept out must not come back by another account. */
function movable(record: NameRecord): NameRecord {
  const account = `${record.directory}/${record.subject}`;
  if (record.state === "moved") throw new RowFault(`takes over from ${account}, whose name has moved already`);
  if (record.revoked) throw new RowFault(`takes over from ${account}, who is revoked: lift that first`);
  return record;
}

function requireFit({ directory, subject, email, previous }: ImportRow, directories: readonly string[]): void {
  if (!directories.includes(directory)) throw new RowFault(`has a directory that no provider has`);
  for (const text of [subject, ...(previous ? [previous.directory, previous.subject] : [])]) {
    if (text === "" || text.includes("\0") || !text.isWellFormed()) throw new RowFault("lacks a directory or subject");
    if (!IDENTIFIER.test(text)) throw new RowFault("has a directory or subject that no sign-in could bring");
  }
  if (previous && isSamePerson({ directory, subject }, previous)) throw new RowFault("is its own previous account");
  if (!/^[^\s@\p{C}]+@[^\s@\p{C}]+$/u.test(email)) throw new RowFault("has no email address");
}

/** Of a sign-in (idp/claim-rules.ts): what does not show could stand for another account's in the eyes of whoever reads the plan. */
const IDENTIFIER = /^[^\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]{1,255}$/u;

/** A slip there would make a new account of somebody who has one. */
function requireKnownDirectory(previous: Person | undefined, known: Known, directories: readonly string[]): void {
  if (!previous || directories.includes(previous.directory) || known.directories.has(previous.directory)) return;
  throw new RowFault("has a previousDirectory that no provider and no account has");
}

/** Writes the steps of a plan without faults, one transaction each. Resolves with how many; rejects with the first that fails. */
export async function applyImport(
  ledger: PeopleRegister & Pick<LedgerPort, "bind">,
  steps: readonly ImportStep[],
  order: Order,
): Promise<number> {
  const due = steps.filter(({ action }) => action !== "keep");
  for (let i = 0; i < due.length; i += AT_ONCE) {
    await Promise.all(due.slice(i, i + AT_ONCE).map((step) => applyStep(ledger, step, order)));
  }
  return due.length;
}

/** They share a transaction of the ledger's queue. */
const AT_ONCE = 100;

async function applyStep(
  ledger: PeopleRegister & Pick<LedgerPort, "bind">,
  { to, sessionName, from }: ImportStep,
  order: Order,
): Promise<void> {
  if (from) {
    await moveName(ledger, { to, sessionName, from }, to, order);
    return;
  }
  await ledger.bind(to, sessionName, { type: "identity.bound", ...to, sessionName, outcome: "success", ...order });
}

function keyOf({ directory, subject }: Person): string {
  return JSON.stringify([directory, subject]);
}
