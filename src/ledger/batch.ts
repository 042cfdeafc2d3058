import type { Transaction } from "kysely";
import type { AuditEvent, EventType } from "../flow/audit-event.ts";
import { Refusal } from "../flow/errors.ts";
import { revocableOf, type Holder, type Person, type RevocationEntry } from "../flow/holder.ts";
import type { NameChange } from "../flow/people.ts";
import { Conflict } from "../flow/revocation.ts";
import { signCheckpoint, type CheckpointKey } from "./checkpoint.ts";
import type { LedgerDatabase } from "./database.ts";
import { Draft, isOfRequest, keyChangeOf, type Known } from "./draft.ts";
import { Registry, type Asked } from "./registry.ts";
import type { LedgerTables } from "./tables.ts";
import { isSameEnd, readEnd, readTree, type LogEnd, type TreeEnd } from "./tree-store.ts";

/** One caller's wish; all that wait at one moment share a transaction. */
export type WriteRequest =
  | { readonly kind: "append"; readonly event: AuditEvent; readonly holder?: Holder | undefined }
  | { readonly kind: "bind"; readonly person: Person; readonly sessionName: string; readonly event: AuditEvent }
  | { readonly kind: "rebind"; readonly change: NameChange; readonly event: AuditEvent }
  | ({ readonly kind: "revoke"; readonly event: AuditEvent } & Pick<RevocationEntry, "effect" | "target">)
  | { readonly kind: "checkpoint"; readonly key: CheckpointKey }
  /** Nothing but the lock, the checks and a write that changes nothing: would an append work now? */
  | { readonly kind: "probe"; readonly write: LedgerDatabase["probe"] };

/** What became of it: the row's seq, the name (bind), the note or undefined (checkpoint), or its refusal. */
export type WriteResult = { readonly value: number | string | undefined } | { readonly refusal: Refusal | Conflict };

export interface BatchResult {
  readonly results: readonly WriteResult[];
  /** The log's end after it. */
  readonly end: TreeEnd | undefined;
  /** Rows written. */
  readonly added: number;
}

interface LogPosition {
  /** Epoch milliseconds. */
  readonly now: number;
  /** Where this process last saw the log end, with the tree up to there. */
  readonly known: TreeEnd | undefined;
  /** Where it ends now, if that has been read. */
  readonly current: LogEnd | undefined;
}

/**
 * Carries out `requests` in order, inside a transaction that holds the log's lock. One that the rules refuse gets its
 * refusal and the others are written; whatever the database refuses fails the whole batch.
 */
export async function writeBatch(
  tx: Transaction<LedgerTables>,
  requests: readonly WriteRequest[],
  { now, known, current }: LogPosition,
): Promise<BatchResult> {
  const end = current ?? (await readEnd(tx));
  const size = end?.seq ?? 0;
  const tree = known && isSameEnd(known, end) ? known.tree.copy() : await readTree(tx, size);
  const draft = new Draft(tree, await readKnown(tx, requests), await Registry.read(tx, asked(requests)), now);
  const results: WriteResult[] = [];
  for (const request of requests) results.push(await attempt(tx, draft, request));
  const added = draft.tree.size - size;
  const last = (await draft.write(tx)) ?? end;
  return { results, end: last && { ...last, tree: draft.tree }, added };
}

async function attempt(tx: Transaction<LedgerTables>, draft: Draft, request: WriteRequest): Promise<WriteResult> {
  try {
    return { value: await carryOut(tx, draft, request) };
  } catch (error) {
    if (error instanceof Refusal || error instanceof Conflict) return { refusal: error };
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
      return draft.append(request.event, request.holder);
    case "bind":
      return draft.bind(request.person, request.sessionName, request.event);
    case "rebind":
      return draft.rebind(request.change, request.event);
    case "revoke":
      return draft.revoke(request, request.event);
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

/** The names and people that the requests are about. */
function asked(requests: readonly WriteRequest[]): Asked {
  const names: string[] = [];
  const holders: Holder[] = [];
  for (const request of requests) {
    if (request.kind === "append" && request.holder) holders.push(request.holder);
    if (request.kind === "bind") {
      names.push(request.sessionName);
      holders.push(request.person);
    }
    if (request.kind === "rebind") {
      const { sessionName, to, from } = request.change;
      names.push(sessionName);
      holders.push(to, ...(from ? [from] : []));
    }
    const revoked = request.kind === "revoke" ? revocableOf(request.target) : undefined;
    if (revoked?.scope === "person") holders.push(revoked);
  }
  return { names, holders };
}

async function readKnown(tx: Transaction<LedgerTables>, requests: readonly WriteRequest[]): Promise<Known> {
  const events = requests.flatMap((request) => ("event" in request ? [request.event] : []));
  const ids = events.filter(isOfRequest).flatMap(({ requestId }) => (requestId === undefined ? [] : [requestId]));
  const changes = events.map(keyChangeOf).filter((id) => id !== undefined);
  return { requests: await readRequests(tx, ids), keyChanges: await readKeyChanges(tx, changes) };
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
