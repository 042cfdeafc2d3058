import { randomBytes, randomUUID } from "node:crypto";
import { Refusal, type ReasonCode } from "../flow/errors.ts";
import type { Identity } from "../flow/identity.ts";
import type { KeyValueStore } from "../flow/ports.ts";
import type { ProviderGrant } from "./oidc.ts";

/** Longer than one refresh may take with all its writes, so that no second one begins beside it. */
const TURN_SECONDS = 30;

/** What is held of one sign-in at its provider, for every session and grant that came of it. */
export interface HeldGrant extends ProviderGrant {
  readonly provider: string;
  readonly directory: string;
  readonly subject: string;
  /** What the provider said when it was asked again; left out: it has not been yet. */
  readonly latest?: Pick<Identity, "claims" | "claimsAt">;
  /** Why the last question gave nothing, and when (epoch milliseconds). */
  readonly refused?: { readonly code: ReasonCode; readonly at: number };
}

/**
 * Refresh tokens of the identity providers, in `store` (which seals them) under `refresh:{ID}`, ID being random and in
 * the Identity of whatever came of the sign-in. The claims of the last refresh lie there too: sessions and grants are
 * never written again for them, so that none that has ended can come back. All of it ends with the sign-in.
 */
export class ProviderGrants {
  readonly #store: KeyValueStore;
  readonly #settings: { readonly signInMaxAgeSeconds: number; readonly now: () => number };

  /** `now`: epoch milliseconds. */
  constructor(store: KeyValueStore, settings: { signInMaxAgeSeconds: number; now: () => number }) {
    this.#store = store;
    this.#settings = settings;
  }

  /** Holds what a sign-in left behind; returns the identity with the name that it is held under. */
  async hold(identity: Identity, grant: ProviderGrant): Promise<Identity> {
    const refreshId = randomBytes(16).toString("base64url");
    const { provider, directory, subject } = identity;
    const held = { ...identity, refreshId };
    await this.write(held, { provider, directory, subject, ...grant });
    return held;
  }

  /**
   * What is held for the identity, if it is this very person's. Refusal `sign_in_revoked` where the provider has ended
   * the sign-in, `claims_expired` where nothing is held.
   */
  async find(identity: Identity): Promise<HeldGrant> {
    const key = keyOf(identity);
    const text = await this.#store.get(key);
    // Written by this class, and nobody else can write a sealed value.
    const held = text === undefined ? undefined : (JSON.parse(text) as HeldGrant);
    if (held === undefined && (await this.#store.get(endedKey(key))) !== undefined) {
      throw new Refusal("sign_in_revoked", "the provider has ended the sign-in");
    }
    const owned =
      held?.provider === identity.provider &&
      held.directory === identity.directory &&
      held.subject === identity.subject;
    if (!owned) throw new Refusal("claims_expired", "no refresh token is held for this sign-in");
    return held;
  }

  /** Refusal `sign_in_revoked` where the provider has ended the sign-in. */
  async requireNotEnded(identity: Identity): Promise<void> {
    if (identity.refreshId === undefined) return;
    if ((await this.#store.get(endedKey(keyOf(identity)))) !== undefined) {
      throw new Refusal("sign_in_revoked", "the provider has ended the sign-in");
    }
  }

  /** Replaces what is held, in one step; Refusal `sign_in_revoked` where the provider has ended the sign-in. */
  async write(identity: Identity, held: HeldGrant): Promise<void> {
    const { signInMaxAgeSeconds, now } = this.#settings;
    const secondsLeft = Math.ceil(identity.signedInAt / 1000 + signInMaxAgeSeconds - now() / 1000);
    const key = keyOf(identity);
    const kept = await this.#store.setUnless(endedKey(key), key, JSON.stringify(held), Math.max(1, secondsLeft));
    if (!kept) throw new Refusal("sign_in_revoked", "the provider has ended the sign-in");
  }

  /** Drops the token, and remembers that the provider has ended the sign-in for as long as anything of it could live. */
  async end(identity: Identity): Promise<void> {
    const key = keyOf(identity);
    await this.#store.set(endedKey(key), "ended", this.#settings.signInMaxAgeSeconds + 60);
    await this.#store.delete(key);
  }

  /** What `work` gives; undefined, and it was not begun, while another process does its own for this sign-in. */
  async alone<T>(identity: Identity, work: () => Promise<T>): Promise<T | undefined> {
    const mark = `${keyOf(identity)}:asking`;
    const turn = randomUUID();
    if (!(await this.#store.add(mark, turn, TURN_SECONDS))) return undefined;
    try {
      return await work();
    } finally {
      await this.#release(mark, turn);
    }
  }

  async #release(mark: string, turn: string): Promise<void> {
    try {
      if ((await this.#store.get(mark)) === turn) await this.#store.delete(mark);
    } catch (error) {
      // The mark has a short life, and what the work gave is worth more.
      if (!(error instanceof Refusal)) throw error;
    }
  }
}

function keyOf({ refreshId }: Identity): string {
  return `refresh:{${refreshId ?? ""}}`;
}

function endedKey(key: string): string {
  return `${key}:ended`;
}
