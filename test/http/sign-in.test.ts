import { afterEach, describe, expect, it } from "vitest";
import { Refusal } from "../../src/flow/errors.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { CookieJar, signInBy } from "../support/cookie-jar.ts";
import { recordingLedger, startWeb, type Web, type WebChoices } from "../support/web.ts";

const open: Web[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((web) => web.close()));
});

async function start(choices?: WebChoices): Promise<{ web: Web; jar: CookieJar }> {
  const web = await startWeb(choices);
  open.push(web);
  return { web, jar: new CookieJar(web.url) };
}

const types = (web: Web): string[] => web.rows.map(({ type }) => type);

describe("signing in", () => {
  it("shows who is signed in, the tags with their reasons, and what the bill will say", async () => {
    const { web, jar } = await start();
    const finished = await signInBy(jar);
    expect(finished.status).toBe(303);
    expect(finished.headers.get("location")).toBe("/");
    const page = await (await jar.get("/")).text();
    expect(page).toContain("Jane@acme.example");
    expect(page).toContain("from Okta’s claim groups, rule 1");
    expect(page).toContain("arn:aws:sts::111122223333:assumed-role/BedrockShared/jane@acme.example");
    expect(page).toContain("iamPrincipal/team");
    expect(page).toContain("cc-1042");
    expect(page.replaceAll(/<[^>]+>/g, "")).toContain(`rolecall configure --broker ${web.url} `);
    expect(types(web)).toEqual(["identity.bound", "login.succeeded"]);
  });

  it("stores nothing and sets no session cookie for somebody who only looks", async () => {
    const { web, jar } = await start();
    const page = await jar.get("/");
    expect(page.status).toBe(200);
    expect(page.headers.getSetCookie()).toEqual([]);
    expect(await page.text()).toContain('href="/login/okta"');
    expect(web.rows).toEqual([]);
  });

  it("gives a new session ID, and the one from before is dead (fixation)", async () => {
    const { jar, web } = await start();
    await signInBy(jar);
    const planted = jar.cookies.get("rolecall") ?? "";
    await signInBy(jar);
    expect(jar.cookies.get("rolecall")).not.toBe(planted);
    const thief = new CookieJar(web.url);
    thief.cookies.set("rolecall", planted);
    expect(await (await thief.get("/")).text()).not.toContain("Jane@acme.example");
  });

  it("lets two tabs of one browser finish, in whichever order", async () => {
    const { jar } = await start();
    const begun = [await jar.get("/login/okta"), await jar.get("/login/okta")];
    const states = begun.map((r) => new URL(r.headers.get("location") ?? "").searchParams.get("state") ?? "");
    for (const state of states.reverse()) {
      expect((await jar.get(`/login/okta/callback?state=${state}`)).status).toBe(303);
    }
  });

  it("forgets who signed in when signInMaxAge is over", async () => {
    let now = Date.now();
    const { jar } = await start({ parts: { now: () => now } });
    await signInBy(jar);
    expect(await (await jar.get("/")).text()).toContain("Signed in as");
    now += 43_300_000;
    const page = await (await jar.get("/")).text();
    expect(page).not.toContain("Signed in as");
    expect(page).toContain("Your sign-in is too old. Sign in again.");
  });

  it.each([
    ["signInMaxAge", 1800, {}, "09:35"],
    ["the provider's claimsMaxAge, where it can't be asked again", 43_200, {}, "10:05"],
    ["signInMaxAge alone, where it can", 43_200, { refreshId: "held" }, "21:05"],
  ])("says when to sign in again, by %s", async (_name, signInMaxAgeSeconds, held, ends) => {
    const at = Date.UTC(2026, 10, 22, 9, 5);
    const identity = { signedInAt: at, claimsAt: at, ...held };
    const { jar } = await start({ identity, config: { signInMaxAgeSeconds }, parts: { now: () => at } });
    await signInBy(jar);
    const page = await (await jar.get("/")).text();
    expect(page).toContain('since <time datetime="2026-11-22T09:05:00.000Z">2026-11-22 09:05 UTC</time>');
    expect(page).toContain(`2026-11-22 ${ends} UTC`);
  });

  it("sends somebody whose claims are too old to sign in again, with the reason", async () => {
    const { jar } = await start({
      parts: { decide: () => Promise.reject(new Refusal("claims_expired", "too old")) },
    });
    await signInBy(jar);
    const page = await (await jar.get("/?next=/oauth/approve/u1")).text();
    expect(page).toContain("too old to rely on");
    expect(page).toContain('href="/login/okta?next=%2Foauth%2Fapprove%2Fu1"');
  });
});

describe("refused sign-ins", () => {
  it("are one event and one page with the sentence and the request ID, when tied to this browser", async () => {
    const { web, jar } = await start();
    const answer = await signInBy(jar, "/", "&refuse=email_unverified");
    const page = await answer.text();
    expect(answer.status).toBe(403);
    expect(page).toContain("Your email address has not been verified.");
    expect(page).toContain(answer.headers.get("x-request-id"));
    expect(web.rows).toMatchObject([
      { type: "login.denied", reason: "email_unverified", email: "jane@acme.example", client: "browser" },
    ]);
    expect(web.rows[0]?.requestId).toBe(answer.headers.get("x-request-id"));
    expect(jar.cookies.has("rolecall")).toBe(false);
  });

  it("are one event when the email is taken by somebody else", async () => {
    const ledger = recordingLedger();
    const bind = () => Promise.reject(new Refusal("email_taken", "another person has this name"));
    const { jar } = await start({ parts: { ledger: { ...ledger, bind } } });
    const answer = await signInBy(jar);
    expect(answer.status).toBe(403);
    expect(ledger.rows).toMatchObject([{ type: "login.denied", reason: "email_taken" }]);
    expect(jar.cookies.has("rolecall")).toBe(false);
  });

  it.each([
    ["a state that nobody gave", "/login/okta/callback?state=x&code=y", 400],
    ["no state", "/login/okta/callback", 400],
    ["an unknown provider", "/login/nobody", 404],
    ["an unknown provider's callback", "/login/nobody/callback", 404],
    ["a name that every object has", "/login/__proto__", 404],
    ["bytes that are no UTF-8", "/login/%ff", 400],
  ])("leave no event for anonymous rubbish: %s", async (_name, path, status) => {
    const { web, jar } = await start();
    const answer = await jar.get(path);
    expect(answer.status).toBe(status);
    expect(answer.headers.get("content-type")).toContain("text/html");
    expect(web.rows).toEqual([]);
    expect(web.logged).toHaveLength(1);
    expect(JSON.stringify(web.logged)).not.toContain("code=y");
  });

  it("are no event from another browser, whose victim can still finish", async () => {
    const { web, jar } = await start();
    const begun = await jar.get("/login/okta");
    const state = new URL(begun.headers.get("location") ?? "").searchParams.get("state") ?? "";
    const other = new CookieJar(web.url);
    expect((await other.get(`/login/okta/callback?state=${state}`)).status).toBe(400);
    expect(web.rows).toEqual([]);
    expect((await jar.get(`/login/okta/callback?state=${state}`)).status).toBe(303);
  });

  it("show what nobody expected as internal_error, and log its stack", async () => {
    const { web, jar } = await start();
    const answer = await signInBy(jar, "/", "&refuse=crash");
    const page = await answer.text();
    expect(answer.status).toBe(500);
    expect(page).toContain("Something went wrong inside Rolecall.");
    expect(page).not.toContain("a fault of the stand-in");
    expect(JSON.stringify(web.logged.at(-1))).toContain('"name":"TypeError"');
    expect(web.logged.at(-1)?.fields["requestId"]).toBe(answer.headers.get("x-request-id"));
  });

  it("begin no session while the store is down", async () => {
    const store = memoryStore();
    const down = () => Promise.reject(new Refusal("store_unavailable", "no answer"));
    const { jar, web } = await start({ parts: { store: { ...store, setUnless: down } } });
    const answer = await signInBy(jar);
    expect(answer.status).toBe(503);
    expect(await answer.text()).toContain("Sign-ins could not be read or kept just now.");
    expect(jar.cookies.has("rolecall")).toBe(false);
    expect(web.rows.at(-2)).toMatchObject({ type: "login.succeeded" });
    expect(web.rows.at(-1)).toMatchObject({
      type: "login.denied",
      reason: "store_unavailable",
      email: "Jane@acme.example",
      requestId: answer.headers.get("x-request-id"),
    });
  });

  it("begin no session while the ledger is down", async () => {
    const down = () => Promise.reject(new Refusal("ledger_unavailable", "no answer"));
    const { jar } = await start({ parts: { ledger: { ...recordingLedger(), append: down, bind: down } } });
    expect((await signInBy(jar)).status).toBe(503);
    expect(jar.cookies.has("rolecall")).toBe(false);
  });
});

describe("the sign-in cookie and the session cookie", () => {
  const HTTPS = { baseUrl: "https://rolecall.acme.example", trustProxy: 1 };

  it("are __Host-, Secure, HttpOnly and SameSite=Lax behind an https proxy", async () => {
    const { web } = await start({ config: HTTPS });
    const jar = new CookieJar(web.url, { "x-forwarded-proto": "https" });
    const begun = await jar.get("/login/okta");
    const [login = ""] = begun.headers.getSetCookie();
    expect(login).toMatch(
      /^__Host-rolecall-login=[\w-]{43}; Max-Age=600; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=Lax$/,
    );
    const finished = await signInBy(jar);
    expect(finished.headers.getSetCookie()).toEqual([
      expect.stringMatching(/^__Host-rolecall=[^;]+; Path=\/; HttpOnly; Secure; SameSite=Lax$/),
    ]);
    expect(await (await jar.get("/")).text()).toContain("Signed in as");
  });

  it("are plain over loopback http, in development", async () => {
    const { jar } = await start();
    const [login = ""] = (await jar.get("/login/okta")).headers.getSetCookie();
    expect(login).toMatch(/^rolecall-login=[\w-]{43}; Max-Age=600; Path=\/; Expires=[^;]+; HttpOnly; SameSite=Lax$/);
    const [session = ""] = (await signInBy(jar)).headers.getSetCookie();
    expect(session).toMatch(/^rolecall=[^;]+; Path=\/; HttpOnly; SameSite=Lax$/);
  });

  it("are not lost in silence where the proxy does not say https", async () => {
    const { web, jar } = await start({ config: HTTPS });
    expect((await jar.get("/login/okta")).status).toBe(500);
    expect(web.logged.at(-1)?.message).toContain("trustProxy");
  });
});
