import { randomBytes } from "node:crypto";

/** A role session that the sandbox's STS gave out. */
export interface AwsSession {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly expiration: Date;
  /** `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION` */
  readonly arn: string;
  readonly account: string;
  /** `AROA…:SESSION` */
  readonly userId: string;
  readonly sourceIdentity: string | undefined;
  readonly tags: Readonly<Record<string, string>>;
  /** `jti` of the token that it was given for. */
  readonly tokenId: string | undefined;
}

/** The sessions that are still alive, by access key ID; kept in memory. */
export class AwsSessions {
  readonly #byKey = new Map<string, AwsSession>();

  begin(
    session: Omit<AwsSession, "accessKeyId" | "secretAccessKey" | "sessionToken" | "expiration">,
    durationSeconds: number,
    now: number,
  ): AwsSession {
    for (const [key, { expiration }] of this.#byKey)
      if (expiration.getTime() < now - 3_600_000) this.#byKey.delete(key);
    const begun = {
      ...session,
      accessKeyId: `ASIA${letters(16)}`,
      secretAccessKey: randomBytes(30).toString("base64"),
      sessionToken: randomBytes(240).toString("base64"),
      // Whole seconds, as the wire has it.
      expiration: new Date(Math.floor(now / 1000) * 1000 + durationSeconds * 1000),
    };
    this.#byKey.set(begun.accessKeyId, begun);
    return begun;
  }

  /** All that are alive, and those that have ended within the hour. */
  all(): AwsSession[] {
    return [...this.#byKey.values()];
  }

  find(accessKeyId: string): AwsSession | undefined {
    return this.#byKey.get(accessKeyId);
  }
}

function letters(count: number): string {
  return [...randomBytes(count)].map((byte) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".charAt(byte & 31)).join("");
}
