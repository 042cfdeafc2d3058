import { createHash, timingSafeEqual } from "node:crypto";
import type { KeyValueStore } from "../flow/ports.ts";
import { refuse } from "./claim-rules.ts";
import type { PendingAuthentication } from "./oidc.ts";

const LIFE_SECONDS = 10 * 60;

/** A sign-in that was begun and has not come back yet. */
export interface PendingSignIn extends Omit<PendingAuthentication, "state"> {
  /** Provider ID. */
  readonly provider: string;
  /** Local path to go to afterwards. */
  readonly next: string;
  /** SHA-256, hex, of the secret in the cookie of the browser that began. */
  readonly browserSha256: string;
  /** Epoch milliseconds. */
  readonly created: number;
}

/** Sign-ins under way, one for each `state`, so that two tabs do not meet. Rejections are Refusals. */
export interface LoginStates {
  /** Remembers a sign-in for ten minutes; `browser` is the secret in the beginning browser's cookie. */
  add(
    signIn: Pick<PendingSignIn, "provider" | "next"> & { browser: string },
    oidc: PendingAuthentication,
  ): Promise<void>;
  /**
   * The sign-in of `state`, once: `login_state_unknown` where it ended, `login_other_browser` where another browser
   * began it; that one's answer can still come, so nobody ends a sign-in that isn't theirs.
   */
  take(state: string, browser: string | undefined): Promise<PendingSignIn>;
}

/** Sign-ins in `store` under `login:SHA-256(state)`: who reads the store's keys learns no state. `now`: epoch ms. */
export function loginStates(store: KeyValueStore, now: () => number): LoginStates {
  return {
    async add({ provider, next, browser }, { state, nonce, verifier }) {
      const pending: PendingSignIn = {
        provider,
        next,
        nonce,
        verifier,
        browserSha256: sha256(browser),
        created: now(),
      };
      await store.set(keyOf(state), JSON.stringify(pending), LIFE_SECONDS);
    },

    async take(state, browser) {
      const seen = await store.get(keyOf(state));
      if (seen === undefined) return unknownState();
      if (browser === undefined || !isBrowserOf(parse(seen), browser)) {
        return refuse("login_other_browser", "the state belongs to a sign-in that another browser began");
      }
      const taken = await store.take(keyOf(state));
      const pending = taken === undefined ? undefined : parse(taken);
      return pending && now() < pending.created + LIFE_SECONDS * 1000 ? pending : unknownState();
    },
  };
}

function unknownState(): never {
  return refuse("login_state_unknown", "no sign-in is pending for the state: used, older than ten minutes, or made up");
}

function isBrowserOf(pending: PendingSignIn, browser: string): boolean {
  return timingSafeEqual(Buffer.from(pending.browserSha256), Buffer.from(sha256(browser)));
}

/** Only `add` writes below these keys. */
function parse(value: string): PendingSignIn {
  return JSON.parse(value) as PendingSignIn;
}

function keyOf(state: string): string {
  return `login:${sha256(state)}`;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
