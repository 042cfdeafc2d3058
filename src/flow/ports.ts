import type { AuditEvent } from "./audit-event.ts";
import { Refusal, type ReasonCode } from "./errors.ts";
import type { Holder } from "./holder.ts";
import type { LogFields } from "./log-fields.ts";

/** Where the caller was, as far as HTTP tells; for the record, never for a decision. */
export interface Caller {
  readonly requestId: string;
  /** OAuth client ID, or "browser". */
  readonly client: string;
  readonly address?: string;
  readonly userAgent?: string;
}

/**
 * The record. Every rejection is a Refusal, within the ledger's deadline: `ledger_unavailable`; and for somebody who may
 * not go on, `person_revoked`, `session_revoked` or `name_moved`.
 */
export interface LedgerPort {
  /**
   * Resolves once the row is durable, with its place. A second outcome for one request ID is refused. A `key.changed`
   * that is there already, by its request ID, is not written again: the place is that of the first. With `holder`, it
   * is refused too where that may not go on, or has not the event's session name: looked up in the same transaction,
   * so that no revocation can come in between.
   */
  append(event: AuditEvent, holder?: Holder): Promise<{ seq: number }>;
  /** The session name that is this person's, from the database itself; undefined: nobody was bound yet. */
  sessionNameOf(holder: Holder): Promise<string | undefined>;
  /**
   * Gives the person `sessionName` for ever and appends `event`, in one transaction. A person who has a name already
   * keeps it (returned; no event). Refusal `email_taken` where the name is or was another person's.
   */
  bind(
    person: { directory: string; subject: string; email: string },
    sessionName: string,
    event: AuditEvent,
  ): Promise<string>;
}

/** What STS gave; the secret parts are in `credentials` alone. */
export interface StsSession {
  readonly credentials: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken: string;
    readonly expiration: Date;
  };
  readonly sessionArn: string;
  readonly sourceIdentity: string | undefined;
  readonly packedPolicySize: number | undefined;
  readonly requestId: string | undefined;
}

/**
 * AssumeRoleWithWebIdentity, or AssumeRoleWithSAML. Rejects with a Refusal `sts_*` in bounded time; retries what may be retried by itself.
 */
export type AssumeRole = (request: {
  readonly roleArn: string;
  readonly sessionName: string;
  /** What SignFederationToken made. */
  readonly token: string;
  readonly durationSeconds: number;
}) => Promise<StsSession>;

/** STS said no. The request ID is what AWS support and CloudTrail know the call by. */
export class StsRefusal extends Refusal {
  readonly stsRequestId: string | undefined;

  constructor(code: ReasonCode, message: string, stsRequestId: string | undefined) {
    super(code, message);
    this.stsRequestId = stsRequestId;
  }
}

/**
 * Short-lived state: sign-ins under way, sessions, authorization-server records, one-time marks. Values are text. All
 * methods reject with a Refusal `store_unavailable`, in bounded time. Keys that one call names together share one
 * `{hash tag}`, so that a Redis Cluster can hold them.
 */
export interface KeyValueStore {
  get(key: string): Promise<string | undefined>;
  /** The values of all `keys`, in their order, as they stood at one moment. */
  getAll(keys: readonly string[]): Promise<readonly (string | undefined)[]>;
  set(key: string, value: string, ttlSeconds: number): Promise<void>;
  /** Sets unless the key exists; true for exactly one of many callers at once. */
  add(key: string, value: string, ttlSeconds: number): Promise<boolean>;
  /** Sets unless `tombstone` exists, in one step, so that nothing ended comes back; false where it exists. */
  setUnless(tombstone: string, key: string, value: string, ttlSeconds: number): Promise<boolean>;
  /** Reads and removes in one step: exactly one of many callers at once gets the value. */
  take(key: string): Promise<string | undefined>;
  delete(key: string): Promise<void>;
  /** Adds one to the count under `key`, which ends `ttlSeconds` after its first call; the store's reader can read it. */
  count(key: string, ttlSeconds: number): Promise<{ readonly count: number; readonly secondsLeft: number }>;
  ping(): Promise<void>;
}

/**
 * What the parts write for operators, as JSON lines with the ID of the request that they are part of. Only listed fields,
 * and of errors no more than {@link LogFields} lets through: never a secret, a token, a claim's value or a person.
 */
export interface Log {
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}
