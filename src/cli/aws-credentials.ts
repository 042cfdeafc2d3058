/** What a credential_process hands out ("Sourcing credentials with an external process", AWS CLI user guide). */
export interface AwsCredentials {
  readonly AccessKeyId: string;
  readonly SecretAccessKey: string;
  readonly SessionToken: string;
  /** ISO 8601, UTC. */
  readonly Expiration: string;
}

/** With less than this left botocore asks again at every signature, so no less is handed out where more can be had. */
export const ENOUGH_SECONDS = 15 * 60;

/** STS gives twelve hours at most: a later end was written under another clock, or by another hand. */
const LONGEST_SECONDS = 12 * 60 * 60 + 5 * 60;

/** The credentials that `value` holds; undefined where a part is missing or is not what it should be. */
export function parseAwsCredentials(value: unknown): AwsCredentials | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = value as Record<string, unknown>;
  if (!isText(AccessKeyId) || !isText(SecretAccessKey) || !isText(SessionToken) || !isText(Expiration)) {
    return undefined;
  }
  const end = Date.parse(Expiration);
  if (Number.isNaN(end)) return undefined;
  return { AccessKeyId, SecretAccessKey, SessionToken, Expiration: isoSeconds(end) };
}

/** Seconds until the end; 0 where it has passed, or lies further ahead than any session's can. */
export function secondsLeft(credentials: AwsCredentials, now: number): number {
  const seconds = (Date.parse(credentials.Expiration) - now) / 1000;
  return seconds > LONGEST_SECONDS ? 0 : Math.max(0, seconds);
}

/** The one line for stdout, with the five keys that SDKs know and no other. */
export function credentialProcessLine(credentials: AwsCredentials): string {
  const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = credentials;
  return `${JSON.stringify({ Version: 1, AccessKeyId, SecretAccessKey, SessionToken, Expiration })}\n`;
}

/** Without milliseconds, which not every SDK's parser has always taken. */
function isoSeconds(time: number): string {
  return new Date(time).toISOString().replace(/\.\d{3}Z$/, "Z");
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
