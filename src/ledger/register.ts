import { isKeptOut, revocableOf, type RevocationEntry } from "../flow/holder.ts";
import type { NameRecord, Newcomer } from "../flow/people.ts";
import type { About, RecordedRevocation } from "../flow/revocation.ts";
import { personKey } from "./registry.ts";
import { readEntry, type LedgerEntry } from "./row.ts";
import type { LedgerReader } from "./tables.ts";

/** What operators look up, read from the log and the tables beside it. */

/** Every name record, in the order of the log. */
export async function listPeople(db: LedgerReader): Promise<NameRecord[]> {
  const rows = await db
    .selectFrom("people")
    .innerJoin("rows", "rows.seq", "people.seq")
    .leftJoin("personal", "personal.seq", "people.seq")
    .select(["people.seq", "people.directory", "people.subject", "people.session_name", "people.generation"])
    .select(["rows.time", "rows.row", "personal.record"])
    .orderBy("people.seq")
    .execute();
  const revocations = await readEntries(db);
  const latestNamed = new Map(rows.map((row) => [row.session_name, row.seq]));
  const latestOf = new Map(rows.map((row) => [personKey(row), row.seq]));
  return rows.map(({ seq, directory, subject, session_name: sessionName, generation, time, row, record }) => ({
    directory,
    subject,
    sessionName,
    generation,
    email: readEntry(row, record).email,
    since: time,
    seq,
    state:
      latestNamed.get(sessionName) === seq && latestOf.get(personKey({ directory, subject })) === seq
        ? "current"
        : "moved",
    revoked: isKeptOut({ directory, subject }, revocations),
  }));
}

/** Who was refused by `email_taken` and has had no name since, one entry a person, by their last refusal. */
export async function listNewcomers(db: LedgerReader): Promise<Newcomer[]> {
  const denied = await db
    .selectFrom("rows")
    .leftJoin("personal", "personal.seq", "rows.seq")
    .select(["rows.row", "personal.record"])
    .where("rows.type", "=", "login.denied")
    .orderBy("rows.seq")
    .execute();
  const people = await db.selectFrom("people").select(["directory", "subject"]).execute();
  const known = new Set(people.map(personKey));
  const waiting = new Map<string, Newcomer>();
  for (const { row, record } of denied) {
    const newcomer = newcomerOf(readEntry(row, record));
    if (newcomer === undefined || known.has(personKey(newcomer))) continue;
    const key = personKey(newcomer);
    // At the end, where the last refusal belongs.
    waiting.delete(key);
    waiting.set(key, newcomer);
  }
  return [...waiting.values()];
}

function newcomerOf(entry: LedgerEntry): Newcomer | undefined {
  const { reason, requestId, provider, directory, subject, email, time } = entry;
  if (reason !== "email_taken" || requestId === undefined || provider === undefined) return undefined;
  if (directory === undefined || subject === undefined || email === undefined) return undefined;
  return { requestId, provider, directory, subject, email, time };
}

/** Every revocation and every end of one, in the order of the log. */
export async function listRevocations(db: LedgerReader): Promise<RecordedRevocation[]> {
  const rows = await db
    .selectFrom("revocations")
    .innerJoin("rows", "rows.seq", "revocations.seq")
    .leftJoin("personal", "personal.seq", "revocations.seq")
    .select(["revocations.target", "revocations.effect", "rows.row", "personal.record"])
    .orderBy("revocations.seq")
    .execute();
  return rows.map(({ target, effect, row, record }) => {
    const entry = readEntry(row, record);
    const { seq, time, actor, note } = entry;
    return { what: revocableOf(target), effect, seq, time, about: aboutOf(entry), actor, note };
  });
}

/** Whose sign-in this was. */
export async function findSignIn(db: LedgerReader, id: string): Promise<About | undefined> {
  const found = await db
    .selectFrom("rows")
    .leftJoin("personal", "personal.seq", "rows.seq")
    .select(["rows.row", "personal.record"])
    .where("rows.request_id", "=", id)
    .where("rows.type", "=", "login.succeeded")
    .executeTakeFirst();
  return found && aboutOf(readEntry(found.row, found.record));
}

/** Whose grant this is. Looks from the end of the log, where a grant that still lives was last used. */
export async function findGrant(db: LedgerReader, id: string): Promise<About | undefined> {
  if (!/^[0-9a-f]{32}$/.test(id)) return undefined;
  const found = await db
    .selectFrom("rows")
    .leftJoin("personal", "personal.seq", "rows.seq")
    .select(["rows.row", "personal.record"])
    // As canonical JSON has it; no text of anybody's can hold an unescaped quotation mark.
    .where("rows.row", "like", `%"grantId":"${id}"%`)
    .orderBy("rows.seq", "desc")
    .limit(1)
    .executeTakeFirst();
  return found && aboutOf(readEntry(found.row, found.record));
}

async function readEntries(db: LedgerReader): Promise<RevocationEntry[]> {
  return await db
    .selectFrom("revocations")
    .innerJoin("rows", "rows.seq", "revocations.seq")
    .select(["revocations.target", "revocations.effect", "revocations.seq", "rows.time"])
    .orderBy("revocations.seq")
    .execute();
}

function aboutOf({ provider, directory, subject, email, sessionName }: LedgerEntry): About {
  return {
    ...(provider !== undefined && { provider }),
    ...(directory !== undefined && { directory }),
    ...(subject !== undefined && { subject }),
    ...(email !== undefined && { email }),
    ...(sessionName !== undefined && { sessionName }),
  };
}
