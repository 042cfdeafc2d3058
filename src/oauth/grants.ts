import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Identity } from "../flow/identity.ts";
import type { KeyValueStore, Log } from "../flow/ports.ts";

/** A grant that was ended because a code or a refresh token of it was used twice. */
export interface ReusedGrant {
  readonly grantId: string;
  readonly clientId: string;
  /** Whose it was; undefined where the record of it was gone already. */
  readonly identity?: Identity;
}

interface Subject {
  readonly clientId: string;
  readonly identity: Identity;
}

/** A grant that has not ended, and who it stands for. */
export interface LiveGrant extends Subject {
  readonly grantId: string;
}

/** The request in which something came to light. */
export interface TokenRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
}

interface GrantSettings {
  /** A grant lives no longer, and its tombstone outlives it. */
  readonly longestLifeSeconds: number;
  readonly onReused: (grant: ReusedGrant) => Promise<void>;
  readonly log: Log;
}

/**
 * What belongs to one grant: the Identity that it stands for, and every record of the authorization server that
 * came from it (codes and tokens). All of it lies under one hash tag, `oauth:{GRANT}:`, beside a tombstone: once that
 * stands, nothing of the grant is found or written again, also not by a request that was half-way through.
 */
export class Grants {
  readonly #store: KeyValueStore;
  readonly #settings: GrantSettings;

  constructor(store: KeyValueStore, settings: GrantSettings) {
    this.#store = store;
    this.#settings = settings;
  }

  /** Keeps `value` as the grant's record `name`; false, and nothing kept, where the grant has ended. */
  keep(grantId: string, name: string, value: string, ttlSeconds: number): Promise<boolean> {
    return this.#store.setUnless(tombstone(grantId), recordKey(grantId, name), value, ttlSeconds);
  }

  /** The grant's record `name`; undefined: never kept, expired, or the grant has ended. */
  async find(grantId: string, name: string): Promise<string | undefined> {
    const [value] = await this.#read(grantId, [name]);
    return value;
  }

  /** As {@link find}, and when the record was used (epoch seconds); undefined: not yet. */
  async findWithUse(grantId: string, name: string): Promise<{ record?: string | undefined; usedAt?: number }> {
    const [record, mark] = await this.#read(grantId, [name, usedMark(name)]);
    return { record, ...(mark !== undefined && { usedAt: Number(mark) }) };
  }

  /** As {@link find}, and who the grant stands for, both as they are at one moment. */
  async findWithSubject(grantId: string, name: string): Promise<{ record: string; grant: LiveGrant } | undefined> {
    const [record, subject] = await this.#read(grantId, [name, "subject"]);
    if (record === undefined || subject === undefined) return undefined;
    return { record, grant: { grantId, ...readSubject(subject) } };
  }

  /** The grant's records as they are at one moment; none of them where the grant has ended. */
  async #read(grantId: string, names: readonly string[]): Promise<readonly (string | undefined)[]> {
    const keys = [tombstone(grantId), ...names.map((name) => recordKey(grantId, name))];
    const [ended, ...values] = await this.#store.getAll(keys);
    return ended === undefined ? values : [];
  }

  /** Marks the record as used; true for exactly one of many callers at once. */
  use(grantId: string, name: string, ttlSeconds: number): Promise<boolean> {
    return this.#store.add(recordKey(grantId, usedMark(name)), String(Math.floor(Date.now() / 1000)), ttlSeconds);
  }

  /** Lays down who the grant stands for. */
  async keepSubject(grantId: string, subject: Subject, ttlSeconds: number): Promise<void> {
    await this.keep(grantId, "subject", JSON.stringify(subject), ttlSeconds);
  }

  async subjectOf(grantId: string): Promise<Subject | undefined> {
    const text = await this.find(grantId, "subject");
    return text === undefined ? undefined : readSubject(text);
  }

  async liveGrant(grantId: string): Promise<LiveGrant | undefined> {
    const subject = await this.subjectOf(grantId);
    return subject && { grantId, ...subject };
  }

  /** Ends the grant with all that came from it; true for the one call that did it. */
  async end(grantId: string): Promise<boolean> {
    const first = await this.#store.add(tombstone(grantId), "ended", this.#settings.longestLifeSeconds + 60);
    if (first) await this.#store.delete(recordKey(grantId, "subject"));
    return first;
  }

  /**
   * Ends the grant because something of it was used twice, and reports that exactly once however many callers find
   * out (RFC 9700, 4.14.2: nobody can tell the thief from the owner). Not reported where it had ended before.
   */
  async endReused(grantId: string): Promise<void> {
    const subject = await this.subjectOf(grantId);
    if (!(await this.end(grantId))) return;
    this.#settings.log.warn(
      { clientId: subject?.clientId },
      "a code or refresh token was used twice: its grant is ended",
    );
    try {
      await this.#settings.onReused({ grantId, clientId: subject?.clientId ?? "unknown", ...subject });
    } catch (error) {
      // The grant stays ended, and the caller is refused either way.
      this.#settings.log.error({ err: error }, "the end of a reused grant could not be recorded");
    }
  }
}

/** SHA-256, so that no token, code or session ID stands in a key. */
export function hashed(id: string): string {
  return createHash("sha256").update(id).digest("base64url");
}

function recordKey(grantId: string, name: string): string {
  return `oauth:{${hashed(grantId)}}:${name}`;
}

function usedMark(name: string): string {
  return `${name}:used`;
}

/** Written by keepSubject, and nobody else can write a sealed value. */
function readSubject(text: string): Subject {
  return JSON.parse(text) as Subject;
}

function tombstone(grantId: string): string {
  return recordKey(grantId, "ended");
}
