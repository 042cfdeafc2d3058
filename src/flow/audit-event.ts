import type { ReasonCode } from "./errors.ts";
import type { KeptClaims } from "./identity.ts";
import type { Person, Revocable } from "./holder.ts";
import type { TraceStep } from "./tags.ts";

/** What the ledger can say. Each type's meaning stands in docs/ledger.md. */
export const EVENT_TYPES = [
  "login.succeeded",
  "login.denied",
  "identity.bound",
  "identity.rebound",
  "credentials.requested",
  "credentials.issued",
  "credentials.failed",
  "credentials.denied",
  "session.ended",
  "session.revoked",
  "grant.reused",
  "config.changed",
  "key.changed",
  "record.viewed",
  "admin.action",
  "checkpoint",
] as const;

export type EventType = (typeof EVENT_TYPES)[number];

/** The types that close a `credentials.requested` of the same request ID; the ledger takes one of them a request. */
export const OUTCOME_TYPES = ["credentials.issued", "credentials.failed"] as const satisfies EventType[];

/**
 * Keys that tell who somebody is. They lie beside the chained row, which holds only their salted digest, so that
 * erasing them later breaks no proof. Session name and ARN are among them because both contain the email.
 */
export const PERSONAL_KEYS = [
  "subject",
  "email",
  "sessionName",
  "sessionArn",
  "claims",
  "address",
  "userAgent",
  "actor",
  "former",
  "note",
] as const satisfies (keyof AuditEvent)[];

/** One row before it is written; `seq` and `time` are the ledger's to give. Secrets and tokens have no key here. */
export interface AuditEvent {
  readonly type: EventType;
  readonly requestId?: string;
  readonly provider?: string;
  readonly directory?: string;
  readonly subject?: string;
  readonly email?: string;
  readonly sessionName?: string;
  readonly claims?: KeptClaims;
  /** Digest of the mapping that was in force. */
  readonly mappingVersion?: string;
  readonly trace?: readonly TraceStep[];
  readonly tags?: Readonly<Record<string, string>>;
  readonly roleArn?: string;
  readonly sessionArn?: string;
  readonly durationSeconds?: number;
  /** ISO 8601, UTC. */
  readonly expiration?: string;
  readonly federation?: "web-identity" | "saml";
  /** `jti` of the federation token. */
  readonly tokenId?: string;
  /** SHA-256 of the whole federation token, hex: what CloudTrail's reader can match, and nobody can use. */
  readonly tokenSha256?: string;
  /** `kid` of the key that signed, or that changed. */
  readonly keyId?: string;
  /** What the key `keyId` is for, what it was and what it is from now on (`key.changed`); docs/keys.md has the words. */
  readonly keyUse?: string;
  readonly keyFrom?: string;
  readonly keyTo?: string;
  readonly stsRequestId?: string;
  readonly accessKeyId?: string;
  /** Per cent, as STS returned it. */
  readonly packedPolicySize?: number;
  /** OAuth client ID or "browser". */
  readonly client?: string;
  readonly address?: string;
  readonly userAgent?: string;
  readonly outcome?: "success" | "refused" | "failed";
  readonly reason?: ReasonCode;
  /** Who did it, where that is not the subject. */
  readonly actor?: string;
  /** Why, in the words of whoever did it. */
  readonly note?: string;
  /** `requestId` of the sign-in that all of this came of. */
  readonly signInId?: string;
  /** Digest of the command line's grant: names it, and opens nothing. */
  readonly grantId?: string;
  /** What a revocation, or its end, is about. */
  readonly scope?: Revocable["scope"];
  /** Salted digest of the revocation beside it: the ledger's to give, as the salt lies with that. */
  readonly revocation?: string;
  /** Whose the name was before (`identity.rebound`). */
  readonly former?: Person;
  /** SHA-256 of the configuration file's bytes, hex (`config.changed`). */
  readonly configSha256?: string;
  /** Salted digest of whose the name is (`identity.*`): the ledger's to give, as the salt lies with the name. */
  readonly owner?: string;
  /** Signed note (`checkpoint`). */
  readonly checkpoint?: string;
}
