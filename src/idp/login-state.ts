import { createHash, timingSafeEqual } from "node:crypto";
import type { KeyValueStore } from "../flow/ports.ts";
import { refuse } from "./claim-rules.ts";

const LIFE_SECONDS = 10 * 60;

/** A sign-in that was begun and has not come back yet, beside what its protocol remembers of it. */
export interface PendingSignIn {
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
  /** Remembers a sign-in, and what its protocol needs of it, for ten minutes; `browser` is the secret in the beginning browser's cookie. */
  add(
    signIn: Pick<PendingSignIn, "provider" | "next"> & { state: string; browser: string },
    remembered: object,
  ): Promise<void>;
  /**
   * The sign-in of `state`, once: `login_state_unknown` where it ended, `login_other_browser` where another browser
   * began it; that one's answer can still come, so nobody ends a sign-in that isn't theirs. `Remembered` is what the
   * protocol of the sign-in's provider has added: look at the provider first.
   */
  take<Remembered>(state: string, browser: string | undefined): Promise<PendingSignIn & Remembered>;
  /** As `take`, and it stays pending. */
  find<Remembered>(state: string, browser: string | undefined): Promise<PendingSignIn & Remembered>;
}

/** Sign-ins in `store` under `login:SHA-256(state)`: who reads the store's keys learns no state. `now`: epoch ms. */
export function loginStates(store: KeyValueStore, now: () => number): LoginStates {
  async function find<Remembered>(state: string, browser: string | undefined): Promise<PendingSignIn & Remembered> {
    const seen = await store.get(keyOf(state));
    if (seen === undefined) return unknownState();
    if (browser === undefined || !isBrowserOf(parse(seen), browser)) {
      return refuse("login_other_browser", "the state belongs to a sign-in that another browser began");
    }
    return pendingNow(parse(seen) as PendingSignIn & Remembered);
  }

  function pendingNow<Pending extends PendingSignIn>(pending: Pending): Pending {
    return now() < pending.created + LIFE_SECONDS * 1000 ? pending : unknownState();
  }

  return {
    async add({ state, provider, next, browser }, remembered) {
      const pending: PendingSignIn = { provider, next, browserSha256: sha256(browser), created: now() };
      await store.set(keyOf(state), JSON.stringify({ ...remembered, ...pending }), LIFE_SECONDS);
    },

    async take<Remembered>(state: string, browser: string | undefined) {
      await find(state, browser);
      const taken = await store.take(keyOf(state));
      return taken === undefined ? unknownState() : pendingNow(parse(taken) as PendingSignIn & Remembered);
    },

    find,
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
