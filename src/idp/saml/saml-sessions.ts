import { createHash } from "node:crypto";
import type { Identity } from "../../flow/identity.ts";
import type { KeyValueStore } from "../../flow/ports.ts";
import { refuse } from "../claim-rules.ts";
import type { Subject } from "./assertion.ts";
import type { Logout } from "./logout-request.ts";

/** Seconds that a used message's mark outlives the message. */
const MARK_MARGIN = 120;
/** Seconds; a request of ours is forgotten long before, and with it whatever answers it. */
const LONGEST_MARK = 24 * 3600;
/** Seconds that a LogoutRequest counts, and its mark beyond. */
const LOGOUT_MARK = 600;

export interface SamlSessionsSettings {
  readonly signInMaxAgeSeconds: number;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/** Who was signed in, as far as the record of the end needs it. */
export type SignedInPerson = Pick<Identity, "provider" | "directory" | "subject" | "email">;

/**
 * What the store keeps of SAML sign-ins: which messages were used, and which sign-ins the provider has ended. An
 * Identity has the names of its sign-in (`endedBy`), SHA-256 of the NameID with and without the session's index, so that
 * one mark ends every session that bears the name, whichever broker reads it next. Rejections are Refusals.
 */
export class SamlSessions {
  readonly #store: KeyValueStore;
  readonly #settings: SamlSessionsSettings;

  constructor(store: KeyValueStore, settings: SamlSessionsSettings) {
    this.#store = store;
    this.#settings = settings;
  }

  /** Resolves for one of all who ever bring this assertion; Refusal `saml_replayed` for the others. */
  async useOnce(provider: string, { assertionId, notOnOrAfter }: Subject): Promise<void> {
    const secondsLeft = (notOnOrAfter - this.#settings.now()) / 1000;
    const seconds = Math.min(LONGEST_MARK, Math.max(0, secondsLeft) + MARK_MARGIN);
    await this.#mark(hashed("assertion", provider, assertionId), seconds);
  }

  /** The identity with the names by which its provider can end it, and a note of whose they are. */
  async begin(identity: Identity, { nameId, sessionIndex }: Subject): Promise<Identity> {
    const { provider, directory, subject, email } = identity;
    const all = hashed("name", provider, nameId);
    const endedBy = sessionIndex === undefined ? [all] : [all, hashed("session", provider, nameId, sessionIndex)];
    const person: SignedInPerson = { provider, directory, subject, email };
    const { signInMaxAgeSeconds } = this.#settings;
    for (const name of endedBy) await this.#store.set(`saml:{${name}}`, JSON.stringify(person), signInMaxAgeSeconds);
    return { ...identity, endedBy };
  }

  /** Ends what the request names, once; returns whose it was, undefined where nobody is known under that name. */
  async end(provider: string, { id, nameId, sessionIndexes }: Logout): Promise<SignedInPerson | undefined> {
    await this.#mark(hashed("logout", provider, id), LOGOUT_MARK);
    const names =
      sessionIndexes.length === 0
        ? [hashed("name", provider, nameId)]
        : sessionIndexes.map((index) => hashed("session", provider, nameId, index));
    let person: string | undefined;
    for (const name of names) {
      person ??= await this.#store.get(`saml:{${name}}`);
      const { signInMaxAgeSeconds, now } = this.#settings;
      await this.#store.set(`saml:{${name}}:ended`, String(now()), signInMaxAgeSeconds);
    }
    // Written by this class, and nobody else can write a sealed value.
    return person === undefined ? undefined : (JSON.parse(person) as SignedInPerson);
  }

  /** Whether the provider has ended this sign-in since it began. */
  async hasEnded({ endedBy = [], signedInAt }: Identity): Promise<boolean> {
    const ends = await Promise.all(endedBy.map((name) => this.#store.get(`saml:{${name}}:ended`)));
    return ends.some((end) => end !== undefined && Number(end) >= signedInAt);
  }

  async #mark(name: string, seconds: number): Promise<void> {
    if (await this.#store.add(`saml:used:${name}`, "used", seconds)) return;
    refuse("saml_replayed", "this message was used before");
  }
}

/** Names of any content, without one that could be read as two. */
function hashed(...parts: string[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("base64url");
}
