import type { Transaction } from "kysely";
import { OUTCOME_TYPES, type AuditEvent, type EventType } from "../flow/audit-event.ts";
import { Refusal } from "../flow/errors.ts";
import type { MerkleTree } from "./merkle.ts";
import { composeRow, newSalt, ownerDigest, type ComposedRow } from "./row.ts";
import type { LedgerTables } from "./tables.ts";
import type { LogEnd } from "./tree-store.ts";

export interface Person {
  readonly directory: string;
  readonly subject: string;
}

/** What stands in the database about the requests and people that a batch is about. */
export interface Known {
  /** Types among requested, issued and failed, by request ID. */
  readonly requests: Map<string, Set<EventType>>;
  /** Places of `key.changed` by request ID. */
  readonly keyChanges: Map<string, number>;
  /** Session names by {@link personKey}. */
  readonly names: Map<string, string>;
  readonly takenNames: Set<string>;
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

/** One string for (directory, subject), in which neither part can pass for a piece of the other. */
export function personKey({ directory, subject }: Person): string {
  return JSON.stringify([directory, subject]);
}

/**
 * The rows of one transaction before they are written. Everything is checked before anything is changed, so an event
 * that is refused leaves the draft as it was and fails its own caller only. The transaction holds the log's lock,
 * so what was read at its start stays true to its end.
 */
export class Draft {
  readonly #tree: MerkleTree;
  readonly #known: Known;
  readonly #time: string;
  readonly #rows: (ComposedRow & { event: AuditEvent })[] = [];
  readonly #nodes: LedgerTables["nodes"][] = [];
  readonly #people: LedgerTables["people"][] = [];

  constructor(tree: MerkleTree, known: Known, now: number) {
    this.#tree = tree;
    this.#known = known;
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
    const key = personKey(person);
    const bound = this.#known.names.get(key);
    if (bound !== undefined) return bound;
    if (this.#known.takenNames.has(sessionName)) {
      throw new Refusal("email_taken", "the session name belongs to another person");
    }
    const { directory, subject } = person;
    const salt = newSalt();
    const seq = this.add({ ...event, owner: ownerDigest({ salt, directory, subject, sessionName }) });
    this.#people.push({ directory, subject, session_name: sessionName, salt, seq });
    this.#known.names.set(key, sessionName);
    this.#known.takenNames.add(sessionName);
    return sessionName;
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
    if (this.#people.length > 0) await tx.insertInto("people").values(this.#people).execute();
    return { seq: last.seq, leafHash: last.leaf.toString("hex") };
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

function refuse(message: string): Refusal {
  return new Refusal("ledger_unavailable", message);
}
