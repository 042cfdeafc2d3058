import { createHash } from "node:crypto";
import type { Request, RequestHandler, Response } from "express";
import session, { type SessionData } from "express-session";
import { Refusal } from "../flow/errors.ts";
import { following } from "../flow/following.ts";
import type { Identity } from "../flow/identity.ts";
import type { KeyValueStore } from "../flow/ports.ts";
import type { RecordedIdentity } from "../flow/sign-in.ts";
import { isHttps } from "./guard.ts";

declare module "express-session" {
  interface SessionData {
    /** Who signed in in this browser, and when: `identity.signedInAt`. */
    identity: Identity;
  }
}

export interface SessionSettings {
  readonly baseUrl: string;
  readonly signInMaxAgeSeconds: number;
  /** Sign the cookie: the first one new ones, all of them old ones. The same list until they change. */
  readonly cookieKeys: () => readonly string[];
  /** Whether the provider has ended the sign-in since it began; left out: none can. */
  readonly hasEnded?: (identity: Identity) => Promise<boolean>;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/**
 * Browser sessions in the store, under `session:{HASH}` with HASH = SHA-256 of the session ID, so that whoever reads the
 * store's keys holds no cookie. A session lives until `signInMaxAge` after the sign-in, whatever it is used for. One that
 * ended leaves `session:{HASH}:ended` behind for as long, and express-session's save at the end of a slower request
 * can't bring it back.
 */
export class SessionStore extends session.Store {
  readonly #store: KeyValueStore;
  readonly #settings: SessionSettings;

  constructor(store: KeyValueStore, settings: SessionSettings) {
    super();
    this.#store = store;
    this.#settings = settings;
  }

  override get(id: string, callback: (error: unknown, data?: SessionData | null) => void): void {
    settle(this.#read(id), callback);
  }

  override set(id: string, data: SessionData, callback: (error?: unknown) => void = ignore): void {
    settle(this.#write(id, data), callback);
  }

  override destroy(id: string, callback: (error?: unknown) => void = ignore): void {
    settle(this.#end(id), callback);
  }

  async #read(id: string): Promise<SessionData | null> {
    const text = await this.#store.get(sessionKey(id));
    const data = text === undefined ? null : (JSON.parse(text) as SessionData);
    return data && (await this.#settings.hasEnded?.(data.identity)) === true ? null : data;
  }

  /** A session of nobody is not kept: no visitor can fill the store. */
  async #write(id: string, data: Partial<SessionData>): Promise<void> {
    if (data.identity === undefined) return;
    const { signInMaxAgeSeconds, now } = this.#settings;
    const secondsLeft = Math.ceil(data.identity.signedInAt / 1000 + signInMaxAgeSeconds - now() / 1000);
    if (secondsLeft <= 0) return;
    await this.#store.setUnless(endedKey(id), sessionKey(id), JSON.stringify(data), secondsLeft);
  }

  /** The tombstone first, so that no write can slip in between; it outlives every session that it could stop. */
  async #end(id: string): Promise<void> {
    await this.#store.set(endedKey(id), "ended", this.#settings.signInMaxAgeSeconds);
    await this.#store.delete(sessionKey(id));
  }
}

/** Reads the browser's session into `req.session`; anonymous visitors get none stored and no cookie. */
export function browserSessions(store: KeyValueStore, settings: SessionSettings): RequestHandler {
  const handler = following(settings.cookieKeys, (cookieKeys) =>
    session({
      name: sessionCookieName(settings.baseUrl),
      secret: [...cookieKeys],
      store: new SessionStore(store, settings),
      resave: false,
      saveUninitialized: false,
      cookie: cookieAttributes(settings.baseUrl),
    }),
  );
  return (req, res, next) => {
    handler()(req, res, next);
  };
}

/** Who is signed in in this browser; undefined: nobody, or somebody whose sign-in is older than `signInMaxAge`. */
export function signedIn(req: Request, settings: SessionSettings): Identity | undefined {
  const identity = (req.session as typeof req.session | undefined)?.identity;
  if (identity === undefined) return undefined;
  return identity.signedInAt + settings.signInMaxAgeSeconds * 1000 > settings.now() ? identity : undefined;
}

/**
 * Begins the person's session under a new ID and ends whichever session the browser had, so that a cookie planted
 * before the sign-in is worth nothing after it. Resolves when it is stored; Refusal `store_unavailable`, and no session.
 */
export async function startSession(req: Request, identity: RecordedIdentity): Promise<void> {
  try {
    await called((done) => req.session.regenerate(done));
    req.session.identity = identity;
    await called((done) => req.session.save(done));
  } catch (error) {
    Reflect.deleteProperty(req, "session");
    throw error;
  }
}

/** Ends the session of that ID, whoever has its cookie. */
export async function endSessionById(req: Request, id: string): Promise<void> {
  await called((done) => {
    req.sessionStore.destroy(id, done);
  });
}

/** Ends the browser's session, here and in the store, and takes its cookie away. */
export async function endSession(req: Request, res: Response, baseUrl: string): Promise<void> {
  await called((done) => req.session.destroy(done));
  res.clearCookie(sessionCookieName(baseUrl), cookieAttributes(baseUrl));
}

/** The prefix makes the browser refuse the cookie unless it is Secure, of this host alone and for every path (RFC 6265bis). */
export function sessionCookieName(baseUrl: string): string {
  return isHttps(baseUrl) ? "__Host-rolecall" : "rolecall";
}

/** What every cookie of the pages has. */
export function cookieAttributes(baseUrl: string): { httpOnly: true; secure: boolean; sameSite: "lax"; path: "/" } {
  return { httpOnly: true, secure: isHttps(baseUrl), sameSite: "lax", path: "/" };
}

/**
 * Throws where a Secure cookie would be lost in silence: the configuration says https, the request says http. Otherwise
 * people would sign in for ever without getting in.
 */
export function requireSecureChannel(req: Request, baseUrl: string): void {
  if (isHttps(baseUrl) && !req.secure) {
    const cause = new Error("baseUrl is https, but the proxy's X-Forwarded-Proto does not say so, or trustProxy is 0");
    throw new Refusal("internal_error", cause.message, { cause });
  }
}

function sessionKey(id: string): string {
  return `session:{${createHash("sha256").update(id).digest("base64url")}}`;
}

function endedKey(id: string): string {
  return `${sessionKey(id)}:ended`;
}

function settle<T>(promise: Promise<T>, callback: (error: unknown, value?: T) => void): void {
  promise.then(
    (value) => {
      callback(null, value);
    },
    (error: unknown) => {
      callback(error);
    },
  );
}

/** express-session's callbacks as a promise. */
function called(run: (done: (error: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    run((error) => {
      if (error === null || error === undefined) resolve();
      else reject(error instanceof Error ? error : new Error("the session could not be changed", { cause: error }));
    });
  });
}

const ignore = (): void => undefined;
