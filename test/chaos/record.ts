import { createPublicKey } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { OUTCOME_TYPES, type EventType } from "../../src/flow/audit-event.ts";
import { checkpointKeyOf } from "../../src/keys/checkpoint-key.ts";
import { readKeyFile } from "../../src/keys/key-format.ts";
import type { CheckpointKey } from "../../src/ledger/checkpoint.ts";
import { openLedger } from "../../src/ledger/ledger.ts";
import type { LedgerEntry } from "../../src/ledger/row.ts";
import { entriesAt, verifyAt } from "../support/ledger.ts";
import { recordingLog } from "../support/log.ts";
import { PEOPLE } from "./people.ts";
import type { Site } from "./site.ts";
import type { Witness } from "./witness.ts";

/** How old a request must be to count as given up, and a second more (milliseconds; src/ledger/sweep.ts). */
const GIVEN_UP = 61_000;

/** What is looked up again and again. */
class Entries {
  readonly all: readonly LedgerEntry[];
  readonly #byType: Map<EventType, LedgerEntry[]>;

  constructor(all: readonly LedgerEntry[]) {
    this.all = all;
    this.#byType = Map.groupBy(all, ({ type }) => type);
  }

  of(type: EventType): readonly LedgerEntry[] {
    return this.#byType.get(type) ?? [];
  }
}

/** Holds what the clients and STS saw against the record; what does not fit goes to the witness. */
export async function checkRecord(site: Site, witness: Witness): Promise<LedgerEntry[]> {
  const all = await entriesAt(site.place);
  const entries = new Entries(all);
  const wrong = [
    ...handedOut(entries, witness),
    ...givenBySts(entries, site),
    ...outcomes(entries),
    ...names(entries),
    ...site.fleet.crashes.splice(0),
  ];
  for (const what of wrong) witness.violation(what);
  return all;
}

/** Law 1, from the client's side: whoever has credentials stands in the record with them, as they are. */
function handedOut(entries: Entries, { handed }: Witness): string[] {
  const issued = Map.groupBy(entries.of("credentials.issued"), (row) => row.accessKeyId);
  return handed.flatMap(({ person, accessKeyId, sessionArn, tags, ledgerSeq }) => {
    const rows = issued.get(accessKeyId);
    if (!rows) return [`${person.email} got ${accessKeyId}, and the record has no credentials.issued for it`];
    const wanted = { email: person.email, sessionArn, tags, seq: ledgerSeq };
    // Callers of one moment share a session of AWS's, and each has a row.
    const said = rows.map((row) => ({ email: row.email, sessionArn: row.sessionArn, tags: row.tags, seq: row.seq }));
    if (said.some((each) => isDeepStrictEqual(each, wanted))) return [];
    return [`${person.email} got ${accessKeyId}, and no row says that: ${JSON.stringify(said)}`];
  });
}

/** Law 1, from AWS's side: no session began without a durable request; and no outcome speaks of one that never began. */
function givenBySts(entries: Entries, { sts }: Site): string[] {
  const sessions = sts.sessions();
  const requested = Map.groupBy(entries.of("credentials.requested"), ({ tokenId }) => tokenId);
  const unasked = sessions.filter(
    ({ tokenId, arn, tags }) =>
      !requested
        .get(tokenId)
        ?.some((row) => arn.endsWith(`/${row.sessionName ?? ""}`) && isDeepStrictEqual(row.tags, tags)),
  );
  const begun = new Map(sessions.map((session) => [session.accessKeyId, session.arn]));
  const invented = entries
    .of("credentials.issued")
    .filter((row) => begun.get(row.accessKeyId ?? "") !== row.sessionArn);
  return [
    ...unasked.map(({ accessKeyId, arn }) => `STS began ${accessKeyId} (${arn}), and the record has no request for it`),
    ...invented.map(({ seq }) => `row ${seq} says that STS began a session, and it did not`),
  ];
}

/** Never two outcomes of one request, nor one without a request. */
function outcomes(entries: Entries): string[] {
  const requested = new Set(entries.of("credentials.requested").map(({ requestId }) => requestId));
  const ended = OUTCOME_TYPES.flatMap((type) => entries.of(type).map(({ requestId }) => requestId));
  const counts = Map.groupBy(ended, (id) => id);
  return [...counts].flatMap(([id, all]) => [
    ...(all.length > 1 ? [`request ${String(id)} has ${all.length} outcomes`] : []),
    ...(requested.has(id) ? [] : [`an outcome of ${String(id)}, which nobody requested`]),
  ]);
}

/** Law 3: one name a person, and nobody billed as another one or for another team. */
function names(entries: Entries): string[] {
  const bound = entries.of("identity.bound");
  const twice = (key: (row: LedgerEntry) => string): string[] =>
    [...Map.groupBy(bound, key)].filter(([, rows]) => rows.length > 1).map(([who]) => `${who} was bound twice`);
  const misnamed = entries.of("credentials.requested").filter((row) => {
    const person = PEOPLE.find(({ email }) => email === row.email);
    return row.sessionName !== row.email || !isDeepStrictEqual(row.tags, person?.tags);
  });
  return [
    ...twice(({ sessionName }) => sessionName ?? ""),
    ...twice(({ directory, subject }) => JSON.stringify([directory, subject])),
    ...misnamed.map(({ seq }) => `row ${seq} has another person's name or tags`),
  ];
}

/** The record as `audit verify` sees it, with every checkpoint that a broker has printed. */
export async function checkProofs(site: Site, witness: Witness): Promise<number> {
  const { name, privateKey } = await checkpointKey(site);
  const checkpoints = site.fleet.checkpoints();
  const verifier = { name, publicKey: createPublicKey(privateKey) };
  try {
    await verifyAt(site.place, { verifier, checkpoints });
  } catch (error) {
    witness.violation(`the record does not verify: ${String(error)}`);
  }
  return checkpoints.length;
}

/**
 * With all brokers gone: a start a minute later closes what was left open, and after that every request has its one
 * outcome. The minute is not waited for: the start has a clock that is ahead.
 */
export async function checkSweep(site: Site, witness: Witness): Promise<void> {
  const now = (): number => Date.now() + GIVEN_UP;
  const ledger = await openLedger({
    ...site.place,
    checkpointKey: await checkpointKey(site),
    log: recordingLog(),
    now,
  });
  await ledger.close();
  const entries = new Entries(await checkRecord(site, witness));
  const ended = new Set(OUTCOME_TYPES.flatMap((type) => entries.of(type).map(({ requestId }) => requestId)));
  for (const { requestId, seq } of entries.of("credentials.requested")) {
    if (!ended.has(requestId)) witness.violation(`the request of row ${seq} has no outcome after the sweep`);
  }
}

async function checkpointKey({ folder }: Site): Promise<CheckpointKey> {
  return checkpointKeyOf(readKeyFile(await readFile(join(folder, "keys.json"), "utf8")), { checkpointKey: undefined });
}
