/**
 * What a key is at a moment, from the times in the file alone: whoever reads the same file agrees, and no instance
 * has to tell another when a prepared key becomes active.
 */

/** What a key is for. What signs for AWS signs nothing else. */
export const KEY_USES = ["federation", "saml", "oauth", "cookies", "sealing"] as const;
export type KeyUse = (typeof KEY_USES)[number];

/**
 * `prepared`: others take it, nothing is made with it yet. `active`: signs or seals. `retired`: what it made is still
 * taken. `dropped`: nobody takes it any more. `revoked`: withdrawn by hand, at once.
 */
export type KeyState = "prepared" | "active" | "retired" | "dropped" | "revoked";

/** ISO 8601, UTC, each. */
export interface KeyTimes {
  readonly createdAt: string;
  /** From when on it is the active one, until the next one is. */
  readonly activeFrom: string;
  readonly revokedAt?: string | undefined;
}

/**
 * `activeFrom` of a prepared key that waits for an operator's word: AWS takes assertions by a SAML key only once somebody
 * has uploaded the metadata that has its certificate, which no clock knows.
 */
export const WHEN_TOLD = "9999-12-31T23:59:59.000Z";

export interface KeyStanding<K> {
  readonly key: K;
  readonly state: KeyState;
  /** When it is something else by itself (epoch milliseconds); undefined: never, as far as the file says. */
  readonly until: number | undefined;
}

const HOUR = 60 * 60 * 1000;
const DAY = 24 * HOUR;

/**
 * How long what a key made is taken after its successor became active (milliseconds). A federation token lives five
 * minutes, and STS allows five more, as of a SAML assertion; an ID token is read at once; cookies and what lies in the store live as long as
 * a sign-in, seven days at most.
 */
export const TAKEN_AFTER: Readonly<Record<KeyUse, number>> = {
  federation: HOUR,
  saml: HOUR,
  oauth: DAY,
  cookies: 8 * DAY,
  sealing: 8 * DAY,
};

/**
 * The keys of one use as they stand at `now` (epoch milliseconds), in the order in which they become active; exactly one
 * is active, or there is none at all of a use that not every broker has. Where the active one was revoked its successor
 * is, even if by this machine's clock its time has not quite come. Of sealing keys, none is taken that was active before
 * one that is revoked: what that one had sealed is lost, with it the marks of what has ended, and what older keys have
 * sealed would be back. Throws an Error where no key is left.
 */
export function standingAt<K extends KeyTimes>(use: KeyUse, keys: readonly K[], now: number): KeyStanding<K>[] {
  const ordered = keys.toSorted((a, b) => Date.parse(a.activeFrom) - Date.parse(b.activeFrom));
  const began = ordered.filter((key) => hasBegun(key, now));
  const last = began.at(-1);
  const active =
    last?.revokedAt === undefined ? last : ordered.slice(ordered.indexOf(last)).find((key) => !key.revokedAt);
  const current = active ?? (last === undefined ? ordered.find((key) => !key.revokedAt) : undefined);
  if (ordered.length === 0 && use === "saml") return [];
  if (current === undefined) throw new Error(`has no key that may be used for ${use}`);
  const at = ordered.indexOf(current);
  return ordered.map((key, index) => {
    if (key.revokedAt !== undefined) return { key, state: "revoked", until: undefined };
    if (index > at) return { key, state: "prepared", until: beginning(key) };
    const successor = ordered.slice(index + 1).find((next) => began.includes(next) || next === current);
    if (key === current) return { key, state: "active", until: nextBeginning(ordered.slice(at + 1)) };
    const until = Date.parse(successor?.activeFrom ?? key.activeFrom) + TAKEN_AFTER[use];
    const orphaned =
      use === "sealing" && began.slice(began.indexOf(key) + 1).some((next) => next.revokedAt !== undefined);
    return now < until && !orphaned ? { key, state: "retired", until } : { key, state: "dropped", until: undefined };
  });
}

/** Whether it ever was active: one that was revoked while it was prepared never was. */
function hasBegun({ activeFrom, revokedAt }: KeyTimes, now: number): boolean {
  const from = Date.parse(activeFrom);
  return from <= now && (revokedAt === undefined || from < Date.parse(revokedAt));
}

function nextBeginning(later: readonly KeyTimes[]): number | undefined {
  const next = later.find((key) => key.revokedAt === undefined);
  return next && beginning(next);
}

/** Undefined: when somebody says so. */
function beginning({ activeFrom }: KeyTimes): number | undefined {
  return activeFrom === WHEN_TOLD ? undefined : Date.parse(activeFrom);
}
