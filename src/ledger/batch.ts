import type { Transaction } from "kysely";
import type { AuditEvent, EventType } from "../flow/audit-event.ts";
import { Refusal } from "../flow/errors.ts";
import { signCheckpoint, type CheckpointKey } from "./checkpoint.ts";
import type { LedgerDatabase } from "./database.ts";
import { Draft, isOfRequest, keyChangeOf, personKey, type Known, type Person } from "./draft.ts";
import type { LedgerTables } from "./tables.ts";
import { readEnd, readTree, type TreeEnd } from "./tree-store.ts";

/** One caller's wish; all that wait at one moment share a transaction. */
export type WriteRequest =
  | { readonly kind: "append"; readonly event: AuditEvent }
  | { readonly kind: "bind"; readonly person: Person; readonly sessionName: string; readonly event: AuditEvent }
  | { readonly kind: "checkpoint"; readonly key: CheckpointKey }
  /** Nothing but the lock, the checks and a write that changes nothing: would an append work now? */
  | { readonly kind: "probe"; readonly write: LedgerDatabase["probe"] };

/** What became of it: the row's seq (append), the name (bind), the note or undefined (checkpoint), or its refusal. */
export type WriteResult = { readonly value: number | string | undefined } | { readonly refusal: Refusal };

export interface BatchResult {
  readonly results: readonly WriteResult[];
  /** The log's end after it. */
  readonly end: TreeEnd | undefined;
  /** Rows written. */
  readonly added: number;
}

/**
 * Carries out `requests` in order, inside a transaction that holds the log's lock. One that the rules refuse gets its
 * refusal and the others are written; whatever the database refuses fails the whole batch.
 */
export async function writeBatch(
  tx: Transaction<LedgerTables>,
  requests: readonly WriteRequest[],
  now: number,
): Promise<BatchResult> {
  const end = await readEnd(tx);
  const size = end?.seq ?? 0;
  const draft = new Draft(await readTree(tx, size), await readKnown(tx, requests), now);
  const results: WriteResult[] = [];
  for (const request of requests) results.push(await attempt(tx, draft, request));
  const added = draft.tree.size - size;
  const last = (await draft.write(tx)) ?? end;
  return { results, end: last && { ...last, root: draft.tree.root() }, added };
}

async function attempt(tx: Transaction<LedgerTables>, draft: Draft, request: WriteRequest): Promise<WriteResult> {
  try {
    return { value: await carryOut(tx, draft, request) };
  } catch (error) {
    if (error instanceof Refusal) return { refusal: error };
    throw error;
  }
}

async function carryOut(
  tx: Transaction<LedgerTables>,
  draft: Draft,
  request: WriteRequest,
): Promise<number | string | undefined> {
  switch (request.kind) {
    case "append":
      return draft.add(request.event);
    case "bind":
      return draft.bind(request.person, request.sessionName, request.event);
    case "checkpoint":
      return (await hasNews(tx, draft)) ? addCheckpoint(draft, request.key) : undefined;
    case "probe":
      await request.write(tx);
      return undefined;
  }
}

/** The note over all rows before it, which becomes the next row. Made under the lock, of the log that it is added to. */
function addCheckpoint(draft: Draft, key: CheckpointKey): string {
  const { size } = draft.tree;
  const note = signCheckpoint(key, { size, root: draft.tree.root(), time: draft.time });
  draft.add({ type: "checkpoint", checkpoint: note });
  return note;
}

/** Whether anything but checkpoints came after the last checkpoint. */
async function hasNews(tx: Transaction<LedgerTables>, draft: Draft): Promise<boolean> {
  if (draft.types.length > 0) return draft.types.at(-1) !== "checkpoint";
  const last = await tx.selectFrom("rows").select("type").orderBy("seq", "desc").limit(1).executeTakeFirst();
  return last !== undefined && last.type !== "checkpoint";
}

async function readKnown(tx: Transaction<LedgerTables>, requests: readonly WriteRequest[]): Promise<Known> {
  const events = requests.flatMap((request) => ("event" in request ? [request.event] : []));
  const ids = events.filter(isOfRequest).flatMap(({ requestId }) => (requestId === undefined ? [] : [requestId]));
  const binds = requests.filter((request) => request.kind === "bind");
  const changes = events.map(keyChangeOf).filter((id) => id !== undefined);
  return {
    requests: await readRequests(tx, ids),
    keyChanges: await readKeyChanges(tx, changes),
    ...(await readPeople(tx, binds)),
  };
}

async function readKeyChanges(tx: Transaction<LedgerTables>, ids: readonly string[]): Promise<Known["keyChanges"]> {
  if (ids.length === 0) return new Map();
  const rows = await tx
    .selectFrom("rows")
    .select(["request_id", "seq"])
    .where("request_id", "in", ids)
    .where("type", "=", "key.changed")
    .execute();
  return new Map(rows.map(({ request_id, seq }) => [request_id ?? "", seq]));
}

async function readRequests(tx: Transaction<LedgerTables>, ids: readonly string[]): Promise<Known["requests"]> {
  const known: Known["requests"] = new Map();
  if (ids.length === 0) return known;
  const rows = await tx.selectFrom("rows").select(["request_id", "type"]).where("request_id", "in", ids).execute();
  for (const { request_id, type } of rows) {
    const event = { type: type as EventType };
    if (request_id === null || !isOfRequest(event)) continue;
    known.set(request_id, (known.get(request_id) ?? new Set()).add(event.type));
  }
  return known;
}

async function readPeople(
  tx: Transaction<LedgerTables>,
  binds: readonly { person: Person; sessionName: string }[],
): Promise<Pick<Known, "names" | "takenNames">> {
  if (binds.length === 0) return { names: new Map(), takenNames: new Set() };
  const wanted = binds.map(({ sessionName }) => sessionName);
  const people = await tx
    .selectFrom("people")
    .selectAll()
    .where((eb) =>
      eb.or([
        eb("session_name", "in", wanted),
        ...binds.map(({ person }) =>
          eb.and([eb("directory", "=", person.directory), eb("subject", "=", person.subject)]),
        ),
      ]),
    )
    .execute();
  return {
    names: new Map(people.map((row) => [personKey(row), row.session_name])),
    takenNames: new Set(people.map((row) => row.session_name)),
  };
}
