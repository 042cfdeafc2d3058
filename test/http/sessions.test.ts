import type { SessionData } from "express-session";
import session from "express-session";
import { describe, expect, it } from "vitest";
import { Refusal } from "../../src/flow/errors.ts";
import type { KeyValueStore } from "../../src/flow/ports.ts";
import { SessionStore } from "../../src/http/sessions.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { CookieJar, signInBy } from "../support/cookie-jar.ts";
import { janeOf, recordingLedger, startWeb } from "../support/web.ts";

const COOKIE_KEYS = ["k"];
const SETTINGS = { baseUrl: "http://127.0.0.1", signInMaxAgeSeconds: 600, cookieKeys: () => COOKIE_KEYS };

/** The store with what was asked of it, in order. */
function watched(): KeyValueStore & { calls: { name: string; keys: string[]; ttl?: number | undefined }[] } {
  const inner = memoryStore();
  const calls: { name: string; keys: string[]; ttl?: number | undefined }[] = [];
  return {
    ...inner,
    calls,
    set: (key, value, ttl) => (calls.push({ name: "set", keys: [key], ttl }), inner.set(key, value, ttl)),
    delete: (key) => (calls.push({ name: "delete", keys: [key] }), inner.delete(key)),
    setUnless: (tombstone, key, value, ttl) => {
      calls.push({ name: "setUnless", keys: [tombstone, key], ttl });
      return inner.setUnless(tombstone, key, value, ttl);
    },
  };
}

function dataOf(over: Partial<SessionData> = {}): SessionData {
  return { cookie: new session.Cookie(), identity: janeOf("okta"), ...over };
}

/** The callback style of express-session as promises. */
function promised(store: SessionStore) {
  const call = <T>(run: (done: (error: unknown, value?: T) => void) => void): Promise<T | undefined> =>
    new Promise((resolve, reject) => {
      run((error, value) => {
        if (error instanceof Error) reject(error);
        else resolve(value);
      });
    });
  return {
    get: (id: string) =>
      call<SessionData | null>((done) => {
        store.get(id, done);
      }),
    set: (id: string, data: SessionData) =>
      call((done) => {
        store.set(id, data, done);
      }),
    destroy: (id: string) =>
      call((done) => {
        store.destroy(id, done);
      }),
  };
}

describe("SessionStore", () => {
  it("keeps a session under the hash of its ID", async () => {
    const kv = watched();
    const store = promised(new SessionStore(kv, { ...SETTINGS, now: Date.now }));
    await store.set("the-id", dataOf());
    expect((await store.get("the-id"))?.identity.email).toBe("Jane@acme.example");
    expect(JSON.stringify(kv.calls)).not.toContain("the-id");
    expect(kv.calls[0]?.keys[1]).toMatch(/^session:\{[\w-]{43}\}$/);
  });

  it("never brings back a session that ended", async () => {
    const store = promised(new SessionStore(memoryStore(), { ...SETTINGS, now: Date.now }));
    await store.set("id", dataOf());
    await store.destroy("id");
    expect(await store.get("id")).toBeNull();
    await store.set("id", dataOf());
    expect(await store.get("id")).toBeNull();
  });

  it("writes the tombstone before it removes, in one cluster slot, for as long as a session can live", async () => {
    const kv = watched();
    await promised(new SessionStore(kv, { ...SETTINGS, now: Date.now })).destroy("id");
    expect(kv.calls.map(({ name }) => name)).toEqual(["set", "delete"]);
    expect(kv.calls[0]?.keys[0]).toBe(`${kv.calls[1]?.keys[0] ?? ""}:ended`);
    expect(kv.calls[0]?.ttl).toBe(600);
  });

  it("counts its life from the sign-in, not from the last use", async () => {
    const kv = watched();
    let now = Date.now();
    const store = promised(new SessionStore(kv, { ...SETTINGS, now: () => now }));
    const data = dataOf({ identity: janeOf("okta", { signedInAt: now }) });
    await store.set("id", data);
    now += 400_000;
    await store.set("id", data);
    now += 200_000;
    await store.set("id", data);
    expect(kv.calls.map(({ ttl }) => ttl)).toEqual([600, 200]);
  });

  it("keeps nothing of nobody", async () => {
    const kv = watched();
    const anonymous = { cookie: new session.Cookie() } as SessionData;
    await promised(new SessionStore(kv, { ...SETTINGS, now: Date.now })).set("id", anonymous);
    expect(kv.calls).toEqual([]);
  });

  it("passes the store's refusal on", async () => {
    const down = { ...memoryStore(), get: () => Promise.reject(new Refusal("store_unavailable", "no answer")) };
    const store = promised(new SessionStore(down, { ...SETTINGS, now: Date.now }));
    await expect(store.get("id")).rejects.toMatchObject({ code: "store_unavailable" });
  });
});

describe("signing out", () => {
  it("ends the session for whoever else has its cookie, and says so in the ledger", async () => {
    const web = await startWeb();
    const jar = new CookieJar(web.url);
    await signInBy(jar);
    const copy = new CookieJar(web.url);
    copy.cookies.set("rolecall", jar.cookies.get("rolecall") ?? "");
    const answer = await jar.post("/logout");
    expect(answer.headers.get("location")).toBe("/?signed-out");
    expect(jar.cookies.has("rolecall")).toBe(false);
    expect(await (await copy.get("/")).text()).not.toContain("Signed in as");
    expect(web.rows.at(-1)).toMatchObject({ type: "session.ended", provider: "okta", subject: "00u1" });
    await web.close();
  });

  it("can't be undone by a slower request that ends after it", async () => {
    const entered = Promise.withResolvers<unknown>();
    const release = Promise.withResolvers<unknown>();
    let slow = false;
    const web = await startWeb({
      parts: {
        decide: async () => {
          if (slow) {
            entered.resolve(undefined);
            await release.promise;
          }
          return { tags: {}, trace: [], sessionName: "jane@acme.example" };
        },
      },
    });
    const jar = new CookieJar(web.url);
    await signInBy(jar);
    const copy = new CookieJar(web.url);
    copy.cookies.set("rolecall", jar.cookies.get("rolecall") ?? "");
    slow = true;
    const page = copy.get("/");
    await entered.promise;
    await jar.post("/logout");
    release.resolve(undefined);
    expect((await page).status).toBe(200);
    slow = false;
    expect(await (await copy.get("/")).text()).not.toContain("Signed in as");
    await web.close();
  });

  it("works while the ledger is down, and is logged", async () => {
    const ledger = recordingLedger();
    let up = true;
    const web = await startWeb({
      parts: {
        ledger: {
          ...ledger,
          append: (event) => (up ? ledger.append(event) : Promise.reject(new Refusal("ledger_unavailable", "down"))),
        },
      },
    });
    const jar = new CookieJar(web.url);
    await signInBy(jar);
    up = false;
    expect((await jar.post("/logout")).status).toBe(303);
    expect(web.logged.at(-1)).toMatchObject({ level: "error", fields: { code: "ledger_unavailable" } });
    expect(await (await jar.get("/")).text()).not.toContain("Signed in as");
    await web.close();
  });

  it("is refused by name while the store is down, and the pages say so", async () => {
    const store = memoryStore();
    let up = true;
    const web = await startWeb({
      parts: {
        store: {
          ...store,
          get: (key) => (up ? store.get(key) : Promise.reject(new Refusal("store_unavailable", "no answer"))),
        },
      },
    });
    const jar = new CookieJar(web.url);
    await signInBy(jar);
    up = false;
    const home = await jar.get("/");
    expect(home.status).toBe(503);
    expect(await home.text()).toContain("Sign-ins could not be read or kept just now.");
    expect((await jar.post("/logout")).status).toBe(503);
    up = true;
    expect(await (await jar.get("/")).text()).toContain("Signed in as");
    await web.close();
  });

  it("is nothing to a cookie that was not signed here", async () => {
    const web = await startWeb();
    const jar = new CookieJar(web.url);
    jar.cookies.set("rolecall", "s%3Amade-up.c2lnbmF0dXJl");
    expect(await (await jar.get("/")).text()).toContain("Continue with Okta");
    await web.close();
  });
});
