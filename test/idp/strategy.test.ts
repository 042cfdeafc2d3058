import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Refusal } from "../../src/flow/errors.ts";
import type { KeyValueStore } from "../../src/flow/ports.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { newSigningKey, startHostileIdp, type Claims, type HostileIdp } from "../support/hostile-idp.ts";
import { TENANT } from "../support/provider-config.ts";
import { startSignInApp, type Outcome, type SignInApp } from "../support/sign-in-app.ts";

let now = Date.now();
let memory: KeyValueStore;
/** `memory`, of which a test may break one method. */
let store: KeyValueStore;
let app: SignInApp;
let okta: HostileIdp;
let other: HostileIdp;

beforeEach(async () => {
  now = Date.now();
  memory = memoryStore(() => now);
  store = { ...memory };
  app = await startSignInApp({ store, now: () => now, paths: ["team"] });
  okta = await startHostileIdp({ id: "okta" });
  other = await startHostileIdp({ id: "other", emailDomains: ["other.example"] });
  app.add(okta.provider);
  app.add(other.provider);
});
afterEach(() => Promise.all([app.close(), okta.close(), other.close()]));

/** A browser holds nothing but its sign-in cookie. */
class Browser {
  #cookie = "";

  /** Begins; returns the address that the provider sends the browser back to. */
  async begin(id = "okta", next = "/"): Promise<string> {
    const begun = await this.#get(`${app.baseUrl}/login/${id}?next=${encodeURIComponent(next)}`);
    this.#cookie = begun.headers.getSetCookie()[0]?.split(";", 1)[0] ?? this.#cookie;
    expect(begun.status).toBe(302);
    const back = await fetch(begun.headers.get("location") ?? "", { redirect: "manual" });
    return back.headers.get("location") ?? "";
  }

  async visit(url: string): Promise<Outcome> {
    return (await (await this.#get(url)).json()) as Outcome;
  }

  #get(url: string): Promise<Response> {
    return fetch(url, { redirect: "manual", headers: { cookie: this.#cookie } });
  }
}

const tokenRequests = (idp: HostileIdp): number => idp.seen.filter(({ path }) => path === "/token").length;

describe("a sign-in", () => {
  test("gives the Identity, and where to go on", async () => {
    const browser = new Browser();
    okta.behavior.claims = (claims) => ({ ...claims, team: "ml" });
    expect(await browser.visit(await browser.begin("okta", "/sessions?x=1"))).toEqual({
      identity: {
        provider: "okta",
        directory: "okta",
        subject: "00u1",
        email: "jane@acme.example",
        claims: { team: "ml" },
        signedInAt: now,
        claimsAt: now,
      },
      next: "/sessions?x=1",
    });
  });

  test("leaves the refresh token with the store alone, under a random name that the Identity has", async () => {
    const browser = new Browser();
    okta.behavior.tokens = (tokens) => ({ ...tokens, refresh_token: "the refresh token" });
    const outcomes = [await browser.visit(await browser.begin()), await browser.visit(await browser.begin())];
    expect(JSON.stringify(outcomes)).not.toContain("the refresh token");
    const names = outcomes.map(({ identity }) => identity?.refreshId ?? "none");
    expect(new Set(names).size).toBe(2);
    for (const name of names) {
      expect(name).toMatch(/^[\w-]{22}$/);
      expect(await memory.get(`refresh:{${name}}`)).toContain("the refresh token");
    }
    now += 12 * 3_600_000 + 1000;
    expect(await memory.get(`refresh:{${names[0] ?? ""}}`)).toBeUndefined();
  });

  test("whose refresh token can't be held is refused", async () => {
    const browser = new Browser();
    okta.behavior.tokens = (tokens) => ({ ...tokens, refresh_token: "the refresh token" });
    store.setUnless = () => Promise.reject(new Refusal("store_unavailable", "redis: gone"));
    expect(await browser.visit(await browser.begin())).toMatchObject({ code: "store_unavailable", tied: true });
  });

  test("in two tabs of one browser: both finish, in either order, each where it began", async () => {
    const browser = new Browser();
    const [first, second] = [await browser.begin("okta", "/one"), await browser.begin("okta", "/two")];
    expect(await browser.visit(second)).toMatchObject({ next: "/two" });
    expect(await browser.visit(first)).toMatchObject({ next: "/one" });
  });

  test("at two providers at once, in one browser", async () => {
    const browser = new Browser();
    other.behavior.claims = (claims) => ({ ...claims, email: "jane@other.example" });
    const [first, second] = [await browser.begin("okta"), await browser.begin("other")];
    expect(await browser.visit(second)).toMatchObject({ identity: { provider: "other" } });
    expect(await browser.visit(first)).toMatchObject({ identity: { provider: "okta" } });
  });

  test("is refused twice: the back button gives nothing, and asks the provider nothing", async () => {
    const browser = new Browser();
    const back = await browser.begin();
    expect(await browser.visit(back)).toHaveProperty("identity");
    expect(await browser.visit(back)).toEqual({ code: "login_state_unknown", tied: true });
    expect(tokenRequests(okta)).toBe(1);
  });

  test("posted fifty times at once is one", async () => {
    const browser = new Browser();
    const back = await browser.begin();
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => browser.visit(back)));
    expect(outcomes.filter(({ identity }) => identity !== undefined)).toHaveLength(1);
    expect(outcomes.filter(({ code }) => code === "login_state_unknown")).toHaveLength(49);
    expect(tokenRequests(okta)).toBe(1);
  });

  test("is over after ten minutes", async () => {
    const browser = new Browser();
    // The provider's tokens are of the real now.
    now -= 10 * 60_000 - 1;
    const [late, later] = [await browser.begin(), await browser.begin()];
    now += 10 * 60_000 - 1;
    expect(await browser.visit(late)).toHaveProperty("identity");
    now += 1;
    expect(await browser.visit(later)).toEqual({ code: "login_state_unknown", tied: true });
  });

  test("is over after ten minutes also where the store keeps it longer", async () => {
    store.set = (key, value) => memory.set(key, value, 3600);
    const browser = new Browser();
    const back = await browser.begin();
    now += 10 * 60_000;
    expect(await browser.visit(back)).toMatchObject({ code: "login_state_unknown" });
  });

  test("finished in another browser is refused there, tied to nobody, and still completes in its own", async () => {
    const [victim, attacker, blank] = [new Browser(), new Browser(), new Browser()];
    const back = await victim.begin();
    await attacker.begin();
    expect(await attacker.visit(back)).toEqual({ code: "login_other_browser", tied: true });
    expect(await blank.visit(back)).toEqual({ code: "login_other_browser", tied: true });
    expect(tokenRequests(okta)).toBe(0);
    expect(await victim.visit(back)).toHaveProperty("identity");
  });

  test.each(["", "?code=x", "?state=", "?state=made-up&code=x", "?state[a]=1", "?state=a&state=b", "?state=%00"])(
    "that nobody began is refused: callback%s",
    async (query) => {
      const browser = new Browser();
      await browser.begin();
      expect(await browser.visit(`${app.baseUrl}/login/okta/callback${query}`)).toEqual({
        code: "login_state_unknown",
        tied: true,
      });
    },
  );

  test("whose state stands twice in the answer is refused", async () => {
    const browser = new Browser();
    const back = new URL(await browser.begin());
    back.searchParams.append("state", back.searchParams.get("state") ?? "");
    expect(await browser.visit(back.href)).toMatchObject({ code: "login_state_unknown" });
  });
});

describe("mix-up", () => {
  test("one provider's answer at another's callback: refused, neither is sent the code", async () => {
    const browser = new Browser();
    const back = new URL(await browser.begin("okta"));
    back.pathname = "/login/other/callback";
    expect(await browser.visit(back.href)).toEqual({
      code: "issuer_mismatch",
      tied: true,
      about: { provider: "okta" },
    });
    expect(tokenRequests(okta) + tokenRequests(other)).toBe(0);
    back.pathname = "/login/okta/callback";
    expect(await browser.visit(back.href)).toMatchObject({ code: "login_state_unknown" });
  });

  test("a wrong iss in the answer: refused, nobody is sent the code", async () => {
    const browser = new Browser();
    okta.behavior.callback = (answer) => {
      answer.set("iss", other.issuer);
    };
    expect(await browser.visit(await browser.begin())).toMatchObject({ code: "issuer_mismatch" });
    expect(tokenRequests(okta) + tokenRequests(other)).toBe(0);
  });

  test("a code that another provider made is not taken for this one's nonce", async () => {
    const browser = new Browser();
    const stolen = new URL(await new Browser().begin("okta")).searchParams.get("code") ?? "";
    const back = new URL(await browser.begin("okta"));
    back.searchParams.set("code", stolen);
    expect(await browser.visit(back.href)).toMatchObject({ code: "idp_response_invalid" });
  });
});

describe("a refusal names as much of the person as is known", () => {
  const finish = async (): Promise<Outcome> => {
    const browser = new Browser();
    return browser.visit(await browser.begin());
  };
  const provider = { provider: "okta", directory: "okta" };

  test("the provider, where it said no", async () => {
    okta.behavior.callback = (answer) => {
      answer.delete("code");
      answer.set("error", "access_denied");
    };
    expect(await finish()).toEqual({ code: "idp_denied", tied: true, about: provider });
  });

  test("the provider, where its answer can't be trusted", async () => {
    okta.behavior.claims = (claims) => ({ ...claims, aud: "another" });
    expect(await finish()).toEqual({ code: "idp_response_invalid", tied: true, about: provider });
  });

  test("the provider, where it does not take the client's secret", async () => {
    okta.behavior.respond = (path, res) => path === "/token" && Boolean(res.writeHead(401).end());
    expect(await finish()).toEqual({ code: "idp_client_rejected", tied: true, about: provider });
  });

  test("the person, where the claims are not enough", async () => {
    okta.behavior.claims = (claims) => ({ ...claims, email: "jane@evil.example" });
    const about = { ...provider, subject: "00u1", email: "jane@evil.example" };
    expect(await finish()).toEqual({ code: "email_domain", tied: true, about });
  });
});

describe("Entra ID", () => {
  const oid = "6a5d2c14-03b7-4b7d-9b0e-7f1a2c3d4e01";
  const member = { tid: TENANT, oid, xms_edov: true, acct: 0 };
  let entra: HostileIdp;
  beforeEach(async () => {
    entra = await startHostileIdp({ id: "entra", kind: "entra" }, `/${TENANT}/v2.0`);
    app.add(entra.provider);
  });
  afterEach(() => entra.close());

  const finish = async (claims: Claims): Promise<Outcome> => {
    entra.behavior.claims = (standard) => ({ ...standard, ...member, ...claims });
    const browser = new Browser();
    return browser.visit(await browser.begin("entra"));
  };

  test("the same email under another oid is another person", async () => {
    const [jane, other] = [await finish({}), await finish({ oid: oid.replace("01", "02") })];
    expect(jane.identity).toMatchObject({ subject: `${TENANT}/${oid}`, email: "jane@acme.example" });
    expect(other.identity?.subject).not.toBe(jane.identity?.subject);
  });

  test("another tenant's account is refused, whatever issuer its token names", async () => {
    const tid = "00000000-0000-4000-8000-000000000000";
    expect(await finish({ tid })).toMatchObject({ code: "tenant_mismatch" });
    expect(await finish({ tid, iss: entra.issuer.replace(TENANT, tid) })).toMatchObject({
      code: "idp_response_invalid",
    });
  });

  test("a guest is refused", async () => {
    expect(await finish({ acct: 1 })).toMatchObject({ code: "guest_refused", about: { subject: `${TENANT}/${oid}` } });
  });

  test("a list of teams that was left out is not fetched from where the claim says", async () => {
    const endpoint = `${entra.issuer}/groups-of-mallory`;
    const claims = { team: undefined, _claim_names: { team: "src1" }, _claim_sources: { src1: { endpoint } } };
    expect(await finish(claims)).toMatchObject({ code: "groups_overage" });
    expect(entra.seen.map(({ path }) => path)).not.toContain("/groups-of-mallory");
  });
});

describe("when something is down", () => {
  test("the provider: begin is refused, and works again once it is back", async () => {
    const browser = new Browser();
    okta.behavior.respond = (_path, res) => Boolean(res.writeHead(503).end());
    expect(await browser.visit(`${app.baseUrl}/login/okta`)).toEqual({ code: "idp_unreachable", tied: false });
    okta.behavior = {};
    expect(await browser.visit(await browser.begin())).toHaveProperty("identity");
  });

  test("the provider, in the middle: the sign-in is refused, and another one goes through", async () => {
    const browser = new Browser();
    const back = await browser.begin();
    okta.behavior.respond = (path, res) => path === "/token" && Boolean(res.destroy());
    expect(await browser.visit(back)).toMatchObject({ code: "idp_unreachable", about: { provider: "okta" } });
    okta.behavior = {};
    expect(await browser.visit(await browser.begin())).toHaveProperty("identity");
  });

  test("the store: refused at begin, and at the callback without ending the sign-in", async () => {
    const browser = new Browser();
    const back = await browser.begin();
    const down = (): Promise<never> => Promise.reject(new Refusal("store_unavailable", "down"));
    Object.assign(store, { get: down, set: down });
    expect(await browser.visit(`${app.baseUrl}/login/okta`)).toEqual({ code: "store_unavailable", tied: false });
    expect(await browser.visit(back)).toEqual({ code: "store_unavailable", tied: true });
    Object.assign(store, memory);
    expect(await browser.visit(back)).toHaveProperty("identity");
  });

  test("a key changes between two sign-ins: the second goes through", async () => {
    const browser = new Browser();
    await browser.visit(await browser.begin());
    okta.key = await newSigningKey("key-2");
    expect(await browser.visit(await browser.begin())).toHaveProperty("identity");
  });
});

describe("what the store holds", () => {
  test("is under a hash of the state, for ten minutes, and without the browser's secret", async () => {
    const written: [string, string, number][] = [];
    store.set = (...entry) => {
      written.push(entry);
      return memory.set(...entry);
    };
    const browser = new Browser();
    const back = await browser.begin("okta", "/next");
    const [key, value, ttl] = written[0] ?? ["", "", 0];
    expect(key).toMatch(/^login:[0-9a-f]{64}$/);
    expect(ttl).toBe(600);
    expect(Object.keys(JSON.parse(value) as object).toSorted()).toEqual(
      ["browserSha256", "created", "next", "nonce", "provider", "verifier"].toSorted(),
    );
    const state = new URL(back).searchParams.get("state") ?? "";
    expect(key + value).not.toContain(state);
  });
});
