import type { AuditEvent } from "./audit-event.ts";
import { Refusal, type ReasonCode } from "./errors.ts";

/** Where the caller was, as far as HTTP tells; for the record, never for a decision. */
export interface Caller {
  readonly requestId: string;
  /** OAuth client ID, or "browser". */
  readonly client: string;
  readonly address?: string;
  readonly userAgent?: string;
}

/** The record. Every rejection is a Refusal `ledger_unavailable`, within the ledger's deadline. */
export interface LedgerPort {
  /** Resolves once the row is durable, with its place. A second outcome for one request ID is refused. */
  append(event: AuditEvent): Promise<{ seq: number }>;
  /** The session name bound to this person, from the database itself; undefined: nobody was bound yet. */
  sessionNameOf(person: { directory: string; subject: string }): Promise<string | undefined>;
  /**
   * Gives the person `sessionName` for ever and appends `event`, in one transaction. A person who has a name already
   * keeps it (returned; no event). Refusal `email_taken` where the name is another person's.
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
 * AssumeRoleWithWebIdentity. Rejects with a Refusal `sts_*` in bounded time; retries what may be retried by itself.
 */
export type AssumeRole = (request: {
  readonly roleArn: string;
  readonly sessionName: string;
  readonly webIdentityToken: string;
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
