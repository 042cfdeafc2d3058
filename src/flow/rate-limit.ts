import { createHash } from "node:crypto";
import { Refusal } from "./errors.ts";
import type { KeyValueStore } from "./ports.ts";

/** What is asked too often, each counted by itself. */
export type Endpoint = "sign_in" | "sign_in_callback" | "authorization" | "token" | "api";

export interface RateLimitSettings {
  /** Requests a minute of one endpoint from one address. */
  readonly perAddress: number;
  /** Requests a minute of one endpoint for one person. */
  readonly perAccount: number;
  /** Sign-ins and approvals begun in ten minutes by everybody together: for so long each is kept. */
  readonly signInsUnderWay: number;
}

/** Over a limit. */
export class RateLimited extends Refusal {
  /** Until the count begins anew. */
  readonly retryAfterSeconds: number;
  /** True for exactly one refusal of each count, whichever broker it meets: the one that the ledger holds. */
  readonly first: boolean;

  constructor(limit: string, retryAfterSeconds: number, first: boolean) {
    super("rate_limited", `over the limit ${limit}`);
    this.retryAfterSeconds = retryAfterSeconds;
    this.first = first;
  }
}

/** Each resolves within the limit, and rejects with {@link RateLimited} over it. All brokers of one store count together. */
export interface RateLimits {
  address(endpoint: Endpoint, address: string): Promise<void>;
  /** `account`: whatever tells people apart. */
  account(endpoint: Endpoint, account: string): Promise<void>;
  /** One more sign-in or approval is about to be kept. */
  signInUnderWay(): Promise<void>;
}

const MINUTE = 60;
const LONGEST_SIGN_IN = 600;

/** Limits by counts in `store`, each in a window that begins at its first request. `onLimited` is told a limit's name. */
export function rateLimits(
  store: Pick<KeyValueStore, "count">,
  settings: RateLimitSettings,
  onLimited: (limit: string) => void,
): RateLimits {
  const within = async (limit: string, who: string, most: number, windowSeconds: number): Promise<void> => {
    const { count, secondsLeft } = await store.count(`limit:${limit}:${hashed(who)}`, windowSeconds);
    if (count <= most) return;
    onLimited(limit);
    throw new RateLimited(limit, secondsLeft, count === most + 1);
  };
  return {
    address: (endpoint, address) => within(`${endpoint}_address`, address, settings.perAddress, MINUTE),
    account: (endpoint, account) => within(`${endpoint}_account`, account, settings.perAccount, MINUTE),
    signInUnderWay: () => within("sign_ins_under_way", "", settings.signInsUnderWay, LONGEST_SIGN_IN),
  };
}

/** What tells one person from every other one. */
export function accountOf({ directory, subject }: { readonly directory: string; readonly subject: string }): string {
  return JSON.stringify([directory, subject]);
}

/** SHA-256: whoever reads the store's keys learns neither addresses nor people. */
function hashed(who: string): string {
  return createHash("sha256").update(who).digest("base64url");
}
