import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CookieJar } from "../support/cookie-jar.ts";
import { samlAnswer, samlIdps, signInBySaml, type SamlIdps } from "./support/saml.ts";
import { answerOf, claimsOf, JANE, located, providerSays, signIn } from "./support/sign-in.ts";
import { loginRequest } from "../support/authorization.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 15: a session cookie that was set before the sign-in; cookies that can be planted, read or sent from elsewhere. */

const OMAR = claimsOf("okta", "Omar");

/** Who is signed in by this cookie alone, as the first page has it. */
async function whoHas(target: Target, cookie: string): Promise<string | undefined> {
  const jar = new CookieJar(target.url);
  jar.cookies.set("rolecall", cookie);
  return /[a-z]+@acme\.example/.exec(await (await jar.get("/")).text())?.[0];
}

describe("a session", () => {
  let target: Target;
  let saml: SamlIdps;
  beforeAll(async () => {
    saml = await samlIdps();
    target = await startTarget(saml.options);
  });
  afterAll(() => target.close());

  const sessionOf = (jar: CookieJar): string => jar.cookies.get("rolecall") ?? "none";

  test("that the attacker planted is not the victim's after the sign-in, and is dead", async () => {
    const planted = sessionOf((await signIn(target, "okta", OMAR)).jar);
    expect(await whoHas(target, planted)).toBe("omar@acme.example");
    const jar = new CookieJar(target.url);
    jar.cookies.set("rolecall", planted);
    const { rows } = await target.recorded(() => signIn(target, "okta", JANE, { jar }));
    expect(rows.at(-1)).toMatchObject({ type: "login.succeeded", email: "jane@acme.example" });
    expect(sessionOf(jar)).not.toBe(planted);
    expect(await whoHas(target, sessionOf(jar))).toBe("jane@acme.example");
    expect(await whoHas(target, planted)).toBeUndefined();
  });

  test.for([
    ["an ID of the attacker's choice", "0123456789abcdef0123456789abcdef"],
    ["one with a signature", "s%3A0123456789abcdef.c2lnbmF0dXJl"],
    ["one that is long", "s%3A".padEnd(4000, "a")],
    ["no ID at all", ""],
    ["another object's key", "s%3A__proto__.c2lnbmF0dXJl"],
  ])("of %s is not kept by the sign-in", async ([, planted = ""]) => {
    const jar = new CookieJar(target.url);
    jar.cookies.set("rolecall", planted);
    expect((await signIn(target, "okta", JANE, { jar })).answer.status).toBe(303);
    expect(sessionOf(jar)).not.toContain(planted === "" ? "none" : planted);
    expect(await whoHas(target, planted)).toBeUndefined();
    expect(await whoHas(target, sessionOf(jar))).toBe("jane@acme.example");
  });

  test("has another ID after each sign-in, and the one before is dead", async () => {
    const { jar } = await signIn(target, "okta", JANE);
    const first = sessionOf(jar);
    await signIn(target, "okta", JANE, { jar });
    expect(sessionOf(jar)).not.toBe(first);
    expect(await whoHas(target, first)).toBeUndefined();
  });

  test("is dead for whoever copied it once its owner signs out; the record says so", async () => {
    const { jar } = await signIn(target, "okta", JANE);
    const copied = sessionOf(jar);
    const { rows } = await target.recorded(() => jar.post("/logout"));
    expect(rows).toMatchObject([{ type: "session.ended", email: "jane@acme.example", outcome: "success" }]);
    expect(await whoHas(target, copied)).toBeUndefined();
  });

  test.for<[string, Record<string, string>]>([
    ["another site", { "sec-fetch-site": "cross-site", origin: "https://evil.example" }],
    ["a sibling of the broker's host", { "sec-fetch-site": "same-site", origin: "https://wiki.acme.example" }],
    ["an old browser, by another site", { origin: "https://evil.example" }],
    ["a sandboxed frame", { origin: "null" }],
    ["nobody says where", {}],
  ])("is not ended by a form from %s", async ([, headers]) => {
    const { jar } = await signIn(target, "okta", JANE);
    const counted = await target.counted("cross_site_request");
    const { answer } = await target.recorded(() => jar.post("/logout", {}, headers));
    expect(answer.status).toBe(403);
    expect(await target.counted("cross_site_request")).toBe(counted + 1);
    expect(await whoHas(target, sessionOf(jar))).toBe("jane@acme.example");
  });

  test("of the attacker can't be begun in the victim's browser with the attacker's own answer (login CSRF)", async () => {
    providerSays(target, "okta", OMAR);
    const [attacker, victim] = [new CookieJar(target.url), new CookieJar(target.url)];
    const [bait, own] = [await answerOf(target, attacker, "okta"), await answerOf(target, victim, "okta")];
    const counted = await target.counted("login_other_browser");
    const { answer, rows } = await target.recorded(() => victim.get(bait.href));
    // Tied to no sign-in of this browser: counted, not recorded.
    expect([answer.status, rows]).toEqual([400, []]);
    expect(await target.counted("login_other_browser")).toBe(counted + 1);
    expect(victim.cookies.has("rolecall")).toBe(false);
    expect((await victim.get(own.href)).status).toBe(303);
    expect((await attacker.get(bait.href)).status).toBe(303);
  });

  test("by SAML, too: another ID after each sign-in, what was planted or there before is dead", async () => {
    const planted = sessionOf((await signInBySaml(target, saml, "okta", OMAR)).jar);
    expect(await whoHas(target, planted)).toBe("omar@acme.example");
    const jar = new CookieJar(target.url);
    jar.cookies.set("rolecall", planted);
    const { browser, begun, xml } = await samlAnswer(target, saml, "okta", JANE, { jar });
    // The answer is another site's POST, with which a Lax cookie does not come.
    jar.cookies.delete("rolecall");
    const { rows } = await target.recorded(() => browser.post(begun, xml));
    expect(rows.at(-1)).toMatchObject({ type: "login.succeeded", provider: "okta-saml", email: "jane@acme.example" });
    const first = sessionOf(jar);
    expect(await whoHas(target, first)).toBe("jane@acme.example");
    expect(await whoHas(target, planted)).toBeUndefined();
    await signInBySaml(target, saml, "okta", JANE, { jar });
    expect(sessionOf(jar)).not.toBe(first);
    expect(await whoHas(target, first)).toBeUndefined();
  });

  test("by SAML, too, is not begun in the victim's browser with the attacker's own answer", async () => {
    const bait = await samlAnswer(target, saml, "okta", OMAR);
    const own = await samlAnswer(target, saml, "okta", JANE);
    const counted = await target.counted("login_other_browser");
    const { answer, rows } = await target.recorded(() => own.browser.post(bait.begun, bait.xml));
    expect([answer.status, rows]).toEqual([400, []]);
    expect(await target.counted("login_other_browser")).toBe(counted + 1);
    expect(own.browser.jar.cookies.has("rolecall")).toBe(false);
    expect((await own.browser.post(own.begun, own.xml)).status).toBe(303);
    expect((await bait.browser.post(bait.begun, bait.xml)).status).toBe(303);
  });
});

describe("by https, as in production", () => {
  let target: Target;
  let saml: SamlIdps;
  beforeAll(async () => {
    saml = await samlIdps({ baseUrl: "https://rolecall.acme.example", trustProxy: 1 });
    target = await startTarget(saml.options);
  });
  afterAll(() => target.close());

  /** A browser behind the proxy that ends TLS, and every cookie that it was ever sent. */
  class SecureJar extends CookieJar {
    readonly sent: string[] = [];
    constructor() {
      super(target.url, { "x-forwarded-proto": "https" });
    }
    override async get(path: string): Promise<Response> {
      const answer = await super.get(path);
      this.sent.push(...answer.headers.getSetCookie());
      return answer;
    }
    override async post(...args: Parameters<CookieJar["post"]>): Promise<Response> {
      const answer = await super.post(...args);
      this.sent.push(...answer.headers.getSetCookie());
      return answer;
    }
  }

  test("every cookie is Secure, HttpOnly and Lax; those of the pages are __Host-, that of a request is bound to its path", async () => {
    const jar = new SecureJar();
    expect((await signIn(target, "okta", JANE, { jar })).answer.status).toBe(303);
    const asked = await jar.get(`/oauth/auth?${new URLSearchParams(loginRequest().parameters).toString()}`);
    const { pathname } = located(asked, target);
    expect(pathname).toMatch(/^\/oauth\/approve\/[\w-]{43}$/);
    const named = Object.fromEntries(jar.sent.map((line) => [line.slice(0, line.indexOf("=")), line]));
    for (const line of jar.sent) expect(line).toMatch(/(?=.*; secure)(?=.*; httponly)(?=.*; samesite=lax)/i);
    expect(named["__Host-rolecall"]).toMatch(/^[^;]+; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
    // Another cookie, of the sign-in alone: ten minutes, and 32 random bytes that the state is bound to.
    expect(named["__Host-rolecall-login"]).toMatch(
      /^[^=]+=[\w-]{43}; Max-Age=600; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=Lax$/,
    );
    const others = Object.entries(named).filter(([name]) => !name.startsWith("__Host-"));
    expect(others.length).toBeGreaterThan(0);
    for (const [name, line] of others) {
      expect(name).toMatch(/^__Secure-rolecall-(?:approval|resume)(?:\.sig)?$/);
      expect(line).toContain(pathname.split("/").at(-1));
      expect(line).not.toMatch(/domain=/i);
    }
  });

  test("what goes with SAML's cross-site POST is a cookie of its own, for ten minutes, and no session", async () => {
    const jar = new SecureJar();
    const { browser, begun, xml } = await samlAnswer(target, saml, "okta", JANE, { jar });
    expect(jar.sent).toHaveLength(1);
    expect(jar.sent[0]).toMatch(
      /^__Host-rolecall-saml-login=[\w-]{43}; Max-Age=600; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=None$/,
    );
    const [name = "", secret = ""] = [...jar.cookies][0] ?? [];
    for (const wrong of ["rolecall-saml-login", "__Secure-rolecall-saml-login", "__Host-rolecall-login"]) {
      jar.cookies.clear();
      jar.cookies.set(wrong, secret);
      expect((await browser.post(begun, xml)).status).toBe(400);
    }
    jar.cookies.clear();
    jar.cookies.set(name, secret);
    expect((await browser.post(begun, xml)).status).toBe(303);
    expect(jar.sent.at(-1)).toMatch(/^__Host-rolecall=[^;]+; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
    expect(await (await jar.get("/")).text()).toContain("jane@acme.example");
  });

  test("a cookie without the prefix, which a sibling host could plant, is not read", async () => {
    const jar = new SecureJar();
    await signIn(target, "okta", JANE, { jar });
    const session = jar.cookies.get("__Host-rolecall") ?? "none";
    expect(await (await jar.get("/")).text()).toContain("jane@acme.example");
    for (const name of [
      "rolecall",
      "__host-rolecall",
      "__Secure-rolecall",
      "\u00a0__Host-rolecall",
      "$__Host-rolecall",
    ]) {
      const sibling = new SecureJar();
      sibling.cookies.set(name, session);
      expect(await (await sibling.get("/")).text()).not.toContain("jane@acme.example");
    }
  });

  test("no sign-in begins where the proxy does not say https, so that no cookie goes in the clear", async () => {
    const answer = await new CookieJar(target.url).get("/login/okta");
    expect([answer.status, answer.headers.getSetCookie()]).toEqual([500, []]);
    expect((await new SecureJar().get("/login/okta")).status).toBe(302);
  });
});
