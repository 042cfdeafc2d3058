import type { Transaction } from "kysely";
import { OUTCOME_TYPES, type AuditEvent, type EventType } from "../flow/audit-event.ts";
import { Refusal } from "../flow/errors.ts";
import { revocableOf, type Holder, type Person, type RevocationEntry } from "../flow/holder.ts";
import { isSamePerson, type NameChange } from "../flow/people.ts";
import { Conflict } from "../flow/revocation.ts";
import type { MerkleTree } from "./merkle.ts";
import type { Registry } from "./registry.ts";
import { composeRow, type ComposedRow } from "./row.ts";
import type { LedgerTables } from "./tables.ts";
import type { LogEnd } from "./tree-store.ts";

/** What stands in the database about the requests that a batch is about. */
export interface Known {
  /** Types among requested, issued and failed, by request ID. */
  readonly requests: Map<string, Set<EventType>>;
  /** Places of `key.changed` by request ID. */
  readonly keyChanges: Map<string, number>;
}

/** The types of which a request ID may have one. */
const REQUEST_TYPES: readonly EventType[] = ["credentials.requested", ...OUTCOME_TYPES];

/** Whether `event` belongs to the life of a request for credentials, of which the ledger keeps the order. */
export function isOfRequest(event: AuditEvent): boolean {
  return REQUEST_TYPES.includes(event.type);
}

/** By what a key's change is told apart, which every broker that notices it would tell. */
export function keyChangeOf({ type, requestId }: AuditEvent): string | undefined {
  return type === "key.changed" ? requestId : undefined;
}

/**
 * The rows of one transaction before they are written. Everything is checked before anything is changed, so an event
 * that is refused leaves the draft as it was and fails its own caller only. The transaction holds the log's lock,
 * so what was read at its start stays true to its end.
 */
export class Draft {
  readonly #tree: MerkleTree;
  readonly #known: Known;
  readonly #registry: Registry;
  readonly #time: string;
  readonly #rows: (ComposedRow & { event: AuditEvent })[] = [];
  readonly #nodes: LedgerTables["nodes"][] = [];

  constructor(tree: MerkleTree, known: Known, registry: Registry, now: number) {
    this.#tree = tree;
    this.#known = known;
    this.#registry = registry;
    this.#time = new Date(now).toISOString();
  }

  /** The tree as it is with the rows drafted so far. */
  get tree(): MerkleTree {
    return this.#tree;
  }

  get time(): string {
    return this.#time;
  }

  /** Types of the events drafted so far. */
  get types(): EventType[] {
    return this.#rows.map((row) => row.event.type);
  }

  /** {@link Draft.add} for somebody who must be one that may go on. */
  append(event: AuditEvent, holder: Holder | undefined): number {
    if (holder) this.#registry.requireMayGoOn(holder, event.sessionName);
    return this.add(event);
  }

  /** Adds a row; returns its seq. Throws where the request's life does not allow it. */
  add(event: AuditEvent): number {
    if (isOfRequest(event)) this.#requireOrder(event);
    const told = this.#known.keyChanges.get(keyChangeOf(event) ?? "");
    if (told !== undefined) return told;
    const row = this.#compose(event);
    for (const { level, index, hash } of this.#tree.append(row.leaf)) {
      this.#nodes.push({ level, idx: index, hash: hash.toString("hex") });
    }
    this.#rows.push({ ...row, event });
    if (isOfRequest(event)) this.#typesOf(event).add(event.type);
    const change = keyChangeOf(event);
    if (change !== undefined) this.#known.keyChanges.set(change, row.seq);
    return row.seq;
  }

  /** The name that is the person's from now on, and `event` added if that is new (law 3). */
  bind(person: Person, sessionName: string, event: AuditEvent): string {
    const registry = this.#registry;
    if (registry.isKeptOut(person)) throw new Refusal("person_revoked", "the person's access has been revoked");
    const bound = registry.nameOf(person);
    if (bound !== undefined) return bound;
    if (registry.holderOf(sessionName) !== undefined) {
      throw new Refusal("email_taken", "the session name belongs to another person");
    }
    this.#addName(person, sessionName, event);
    return sessionName;
  }

  /** Moves a name, or gives a new one, and adds `event`; returns its seq. Throws {@link Conflict}. */
  rebind({ to, sessionName, from }: NameChange, event: AuditEvent): number {
    const registry = this.#registry;
    const holder = registry.holderOf(sessionName);
    if (from === undefined && holder !== undefined) throw new Conflict(`${sessionName} is another account's`);
    if (from !== undefined && (holder === undefined || !isSamePerson(holder, from))) {
      throw new Conflict(`${sessionName} is not ${from.directory}/${from.subject}'s any more: look again`);
    }
    if (from === undefined && hasName(registry, to)) {
      throw new Conflict(`${to.directory}/${to.subject} has a session name already`);
    }
    // Whoever was kept out must not come back by another account.
    for (const person of from === undefined ? [to] : [to, from]) {
      if (!registry.isKeptOut(person)) continue;
      throw new Conflict(`${person.directory}/${person.subject} is revoked: lift that first`);
    }
    return this.#addName(to, sessionName, event);
  }

  /** Adds a revocation, or its end, and `event`; returns its seq. Throws {@link Conflict} where nothing is to be lifted. */
  revoke({ target, effect }: Pick<RevocationEntry, "target" | "effect">, event: AuditEvent): number {
    const what = revocableOf(target);
    if (effect === "lifted" && !(what.scope === "person" && this.#registry.isKeptOut(what))) {
      throw new Conflict("nothing is revoked there that could be lifted");
    }
    return this.#registry.addRevocation({ target, effect, time: this.#time }, (revocation) =>
      this.add({ ...event, revocation }),
    );
  }

  /** Writes what was drafted; returns the log's end, or undefined where nothing was added. */
  async write(tx: Transaction<LedgerTables>): Promise<LogEnd | undefined> {
    const last = this.#rows.at(-1);
    if (!last) return undefined;
    const personal = this.#rows.flatMap(({ seq, personal }) =>
      personal ? [{ seq, salt: personal.salt, record: personal.text }] : [],
    );
    await tx.insertInto("rows").values(this.#rows.map(columns)).execute();
    if (personal.length > 0) await tx.insertInto("personal").values(personal).execute();
    if (this.#nodes.length > 0) await tx.insertInto("nodes").values(this.#nodes).execute();
    await this.#registry.write(tx);
    return { seq: last.seq, leafHash: last.leaf.toString("hex") };
  }

  #addName(person: Person, sessionName: string, event: AuditEvent): number {
    return this.#registry.addName(person, sessionName, (owner) => this.add({ ...event, owner }));
  }

  #compose(event: AuditEvent): ComposedRow {
    try {
      return composeRow(event, this.#tree.size + 1, this.#time);
    } catch (cause) {
      throw new Refusal("ledger_unavailable", "the event has a value that JSON has no form for", { cause });
    }
  }

  /** Requested once, and before its one outcome. */
  #requireOrder(event: AuditEvent): void {
    if (event.requestId === undefined) throw refuse(`${event.type} needs a requestId`);
    const types = this.#typesOf(event);
    if (event.type === "credentials.requested") {
      if (types.size > 0) throw refuse("this request ID has been recorded before");
      return;
    }
    if (!types.has("credentials.requested")) throw refuse("an outcome needs its credentials.requested before it");
    if (types.size > 1) throw refuse("this request has its outcome already");
  }

  #typesOf({ requestId = "" }: AuditEvent): Set<EventType> {
    const types = this.#known.requests.get(requestId) ?? new Set();
    this.#known.requests.set(requestId, types);
    return types;
  }
}

function columns({ seq, event, time, text, leaf }: ComposedRow & { event: AuditEvent }): LedgerTables["rows"] {
  const request_id = event.requestId?.toWellFormed() ?? null;
  return { seq, type: event.type, request_id, time, row: text, leaf_hash: leaf.toString("hex") };
}

/** Whether the account has a name now; one that moved away is none. */
function hasName(registry: Registry, person: Person): boolean {
  try {
    return registry.nameOf(person) !== undefined;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

function refuse(message: string): Refusal {
  return new Refusal("ledger_unavailable", message);
}
