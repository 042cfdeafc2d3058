import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { OidcProvider } from "../../src/config/config.ts";
import { Refusal, type ReasonCode } from "../../src/flow/errors.ts";
import type { Identity } from "../../src/flow/identity.ts";
import type { KeyValueStore } from "../../src/flow/ports.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { sealed } from "../../src/store/sealed.ts";
import { newSigningKey, signText, startHostileIdp, type Claims, type HostileIdp } from "../support/hostile-idp.ts";
import { recordingLog } from "../support/log.ts";
import { TENANT } from "../support/provider-config.ts";
import { GRANT, MAX_AGE, refreshing, shown, staleJane, type Refreshing } from "../support/refreshing.ts";

let now = Date.now();
let bare: KeyValueStore;
let store: KeyValueStore;
let idp: HostileIdp;
let one: Refreshing;
let jane: Identity;

beforeEach(() => begin());
afterEach(() => idp.close());

async function begin(over: Partial<OidcProvider> = {}, who: Partial<Identity> = {}): Promise<void> {
  now = Date.now();
  bare = memoryStore(() => now);
  store = sealed(bare, randomBytes(32), recordingLog());
  idp = await startHostileIdp(over);
  one = refreshing(idp, store, { now: () => now });
  jane = await one.grants.hold({ ...staleJane(idp, now), ...who }, GRANT);
}

const fresh = (of = one, who = jane): Promise<Identity> => of.refresh(who, now - MAX_AGE);

async function codeOf(work: Promise<unknown>): Promise<ReasonCode> {
  const error: unknown = await work.then(
    () => new Error("it was accepted"),
    (reason: unknown) => reason,
  );
  if (!(error instanceof Refusal)) throw error;
  expect(error.message).not.toContain("refresh-token");
  return error.code;
}

/** Time passes until the claims are stale and no refusal counts. */
const anHourLater = (): void => {
  now += MAX_AGE + 1;
};

/** As the provider dates its tokens by the test's clock. */
const dated = (claims: Claims): Claims => {
  const seconds = Math.floor(now / 1000);
  return { ...claims, iat: seconds, exp: seconds + 300 };
};

const rotateTo = (refreshToken: string): void => {
  idp.behavior.tokens = (tokens) => ({ ...tokens, refresh_token: refreshToken });
};

const answerToken = (status: number, body: object): void => {
  idp.behavior.respond = (path: string, res: ServerResponse) =>
    path === "/token" &&
    Boolean(res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body)));
};

describe("fresh claims", () => {
  test("are the provider's of now, and the rest of the identity stays", async () => {
    idp.behavior.claims = (claims) => ({ ...claims, team: "ml" });
    expect(await fresh()).toEqual({ ...jane, claims: { team: "ml" }, claimsAt: now });
    expect(shown(idp)).toEqual([GRANT.refreshToken]);
    const [asked] = idp.seen.filter(({ path }) => path === "/token");
    expect(Object.fromEntries(asked?.body ?? [])).toEqual({
      grant_type: "refresh_token",
      refresh_token: GRANT.refreshToken,
    });
    expect(asked?.authorization).toMatch(/^Basic /);
  });

  test("count for every session and grant of the sign-in, until they are stale", async () => {
    idp.behavior.claims = dated;
    const said = await fresh();
    now += MAX_AGE;
    expect(await fresh()).toEqual(said);
    expect(shown(idp)).toHaveLength(1);
    now += 1;
    expect(await fresh()).toMatchObject({ claimsAt: now });
    expect(shown(idp)).toHaveLength(2);
  });

  test("show null for what the provider tells no longer", async () => {
    idp.behavior.claims = (claims) => ({ ...claims, team: undefined });
    idp.behavior.userinfo = { sub: "00u1" };
    expect((await fresh()).claims).toEqual({ team: null });
  });

  test("come from userinfo where the answer has no ID token", async () => {
    idp.behavior.tokens = (tokens) => ({ ...tokens, id_token: undefined });
    idp.behavior.userinfo = { sub: "00u1", email: jane.email, email_verified: true, team: "ml" };
    expect((await fresh()).claims).toEqual({ team: "ml" });
    anHourLater();
    idp.behavior.userinfo = { ...idp.behavior.userinfo, sub: "00u2" };
    expect(await codeOf(fresh())).toBe("idp_response_invalid");
  });

  test("are none where the answer has neither", async () => {
    idp.behavior.tokens = (tokens) => ({ ...tokens, id_token: undefined });
    idp.behavior.metadata = (document) => ({ ...document, userinfo_endpoint: undefined });
    expect(await codeOf(fresh())).toBe("idp_response_invalid");
  });

  test("come with the nonce of the sign-in, or without one", async () => {
    idp.behavior.claims = (claims) => ({ ...claims, nonce: GRANT.nonce });
    expect(await fresh()).toMatchObject({ claimsAt: now });
  });

  test("are not asked for where the provider gave no refresh token, or nothing is held any more", async () => {
    const { refreshId, ...without } = jane;
    expect(await codeOf(fresh(one, without))).toBe("claims_expired");
    expect(await codeOf(fresh(one, { ...jane, refreshId: "another" }))).toBe("claims_expired");
    await bare.delete(`refresh:{${refreshId ?? ""}}`);
    expect(await codeOf(fresh())).toBe("claims_expired");
    expect(shown(idp)).toEqual([]);
  });

  test.each<[string, Partial<Identity>]>([
    ["subject", { subject: "00u2" }],
    ["directory", { directory: "other" }],
    ["provider", { provider: "other" }],
  ])("are not another %s's to ask for", async (_name, over) => {
    expect(await codeOf(fresh(one, { ...jane, ...over }))).toBe("claims_expired");
    expect(shown(idp)).toEqual([]);
  });
});

describe("an ID token that does not belong to the sign-in is refused", () => {
  const cases: [string, (claims: Claims) => Claims][] = [
    ["another sub", (claims) => ({ ...claims, sub: "00u2" })],
    ["no sub", (claims) => ({ ...claims, sub: undefined })],
    ["another sign-in's nonce", (claims) => ({ ...claims, nonce: "another" })],
    ["another audience", (claims) => ({ ...claims, aud: "another" })],
    ["another issuer", (claims) => ({ ...claims, iss: "https://evil.example" })],
    ["an end in the past", (claims) => ({ ...claims, exp: Math.floor(Date.now() / 1000) - 60 })],
    ["a beginning of yesterday", (claims) => ({ ...claims, iat: Math.floor(Date.now() / 1000) - 86_400 })],
  ];
  test.each(cases)("%s", async (_name, change) => {
    idp.behavior.claims = change;
    expect(await codeOf(fresh())).toBe("idp_response_invalid");
    anHourLater();
    idp.behavior = { claims: dated };
    expect(await fresh()).toMatchObject({ claimsAt: now });
  });

  test("a key that is not the provider's", async () => {
    idp.key = await newSigningKey("key-2");
    idp.behavior.jwks = () => [];
    expect(await codeOf(fresh())).toBe("idp_response_invalid");
  });
});

describe("claims that would refuse a sign-in refuse here, by the same code, and the sign-in is kept", () => {
  const entra = { tid: TENANT, oid: "6a5d2c14-03b7-4b7d-9b0e-7f1a2c3d4e01", upn: "jane@acme.example" };
  const cases: [string, OidcProvider["kind"], Claims, ReasonCode][] = [
    ["another email", "okta", { email: "jane-maiden@acme.example" }, "identity_changed"],
    ["the email in another case", "okta", { email: "Jane@acme.example" }, "identity_changed"],
    ["no email", "okta", { email: undefined }, "email_missing"],
    ["an email of another domain", "okta", { email: "jane@evil.example" }, "email_domain"],
    ["an email that is not verified any more", "okta", { email_verified: false }, "email_unverified"],
    ["a team that is too long a list", "okta", { team: Array.from({ length: 100 }, String) }, "groups_overage"],
    ["another organization", "auth0", { org_id: "org_b" }, "tenant_mismatch"],
    ["a guest", "entra", { ...entra, acct: 1 }, "guest_refused"],
    ["another tenant", "entra", { ...entra, tid: TENANT.replace("3", "4") }, "tenant_mismatch"],
    ["another object", "entra", { ...entra, oid: entra.oid.replace("01", "02") }, "identity_changed"],
    ["an overage", "entra", { ...entra, _claim_names: { team: "src1" } }, "groups_overage"],
  ];
  test.each(cases)("%s", async (_name, kind, over, code) => {
    await idp.close();
    const path = kind === "entra" ? `/${TENANT}/v2.0` : "";
    idp = await startHostileIdp({ kind, ...(kind === "auth0" && { organization: "org_a" }) }, path);
    one = refreshing(idp, store, { now: () => now });
    const subject = kind === "entra" ? `${TENANT}/${entra.oid}` : "00u1";
    jane = await one.grants.hold({ ...staleJane(idp, now), subject }, GRANT);
    const honest = kind === "entra" ? entra : { org_id: "org_a" };
    idp.behavior.userinfo = { sub: "00u1" };
    idp.behavior.claims = (claims) => ({ ...claims, ...honest, ...over });
    idp.behavior.tokens = (tokens) => ({ ...tokens, refresh_token: "refresh-token-1" });
    expect(await codeOf(fresh())).toBe(code);

    now += 5_000;
    idp.behavior.claims = (claims) => ({ ...claims, ...honest });
    expect(await fresh()).toMatchObject({ subject, claimsAt: now });
    expect(shown(idp)).toEqual([GRANT.refreshToken, "refresh-token-1"]);
    expect(one.revoked).toEqual([]);
  });
});

describe("the provider says no, or nothing", () => {
  const kept: [string, number, object, ReasonCode][] = [
    ["is down", 503, {}, "idp_unreachable"],
    ["limits us", 429, {}, "idp_unreachable"],
    ["wants the person to come by", 400, { error: "interaction_required" }, "claims_expired"],
    ["wants the person to sign in", 400, { error: "login_required" }, "claims_expired"],
    ["wants the person's consent", 400, { error: "consent_required" }, "claims_expired"],
    ["lets nobody in", 403, { error: "access_denied" }, "idp_denied"],
    ["rejects our client", 401, { error: "invalid_client" }, "idp_client_rejected"],
    ["rejects our client in Auth0's words", 401, { error: "access_denied" }, "idp_client_rejected"],
    ["says something odd", 400, { error: "toString" }, "idp_response_invalid"],
    ["says nothing that could be read", 200, { hello: "there" }, "idp_response_invalid"],
  ];
  test.each(kept)("it %s: refused, and asked again later with the same token", async (_name, status, body, code) => {
    answerToken(status, body);
    expect(await codeOf(fresh())).toBe(code);
    expect(one.revoked).toEqual([]);
    delete idp.behavior.respond;
    now += 5_000;
    expect(await fresh()).toMatchObject({ claimsAt: now });
    expect(shown(idp)).toEqual([GRANT.refreshToken, GRANT.refreshToken]);
  });

  test("a refusal is everybody's for a moment, so that nobody hammers the provider", async () => {
    answerToken(503, {});
    const other = refreshing(idp, store, { now: () => now });
    expect(await codeOf(fresh())).toBe("idp_unreachable");
    now += 4_999;
    expect(await codeOf(fresh())).toBe("idp_unreachable");
    expect(await codeOf(fresh(other))).toBe("idp_unreachable");
    expect(shown(idp)).toHaveLength(1);
  });

  test("the grant is gone: recorded once, the token dropped, and nobody asks again", async () => {
    answerToken(400, { error: "invalid_grant", error_description: "User is disabled" });
    const codes = await Promise.all(Array.from({ length: 20 }, () => codeOf(fresh())));
    expect(new Set(codes)).toEqual(new Set(["sign_in_revoked"]));
    delete idp.behavior.respond;
    now += 10_000;
    expect(await codeOf(fresh())).toBe("sign_in_revoked");
    expect(await codeOf(fresh(refreshing(idp, store, { now: () => now })))).toBe("sign_in_revoked");
    expect(shown(idp)).toHaveLength(1);
    expect(one.revoked).toEqual([jane]);
    expect(await bare.get(`refresh:{${jane.refreshId ?? ""}}`)).toBeUndefined();
  });

  test("the grant is gone, and that can't be recorded: refused, and found out again", async () => {
    answerToken(400, { error: "invalid_grant" });
    one.beforeRecord = () => {
      throw new Refusal("ledger_unavailable", "the disk is full");
    };
    expect(await codeOf(fresh())).toBe("ledger_unavailable");
    one.beforeRecord = () => undefined;
    expect(await codeOf(fresh())).toBe("sign_in_revoked");
    expect(one.revoked).toEqual([jane]);
  });

  test("another sign-in of the same person goes on", async () => {
    const elsewhere = await one.grants.hold(jane, { ...GRANT, refreshToken: "refresh-token-of-elsewhere" });
    answerToken(400, { error: "invalid_grant" });
    await codeOf(fresh());
    delete idp.behavior.respond;
    expect(await fresh(one, elsewhere)).toMatchObject({ claimsAt: now });
  });
});

describe("rotation", () => {
  test("the new token is the next one shown; without a new one the old one stays", async () => {
    for (const next of ["refresh-token-1", undefined, "refresh-token-2"]) {
      idp.behavior.claims = dated;
      idp.behavior.tokens = (tokens) => ({ ...tokens, ...(next !== undefined && { refresh_token: next }) });
      await fresh();
      anHourLater();
    }
    await fresh();
    expect(shown(idp)).toEqual(["refresh-token-0", "refresh-token-1", "refresh-token-1", "refresh-token-2"]);
  });

  test("is kept before the claims are looked at", async () => {
    const keys: ServerResponse[] = [];
    const asked = Promise.withResolvers<undefined>();
    rotateTo("refresh-token-1");
    idp.behavior.respond = (path, res) => {
      if (path !== "/jwks") return false;
      keys.push(res);
      asked.resolve(undefined);
      return true;
    };
    const refused = codeOf(fresh());
    await asked.promise;
    expect(await one.grants.find(jane)).toMatchObject({ refreshToken: "refresh-token-1" });
    keys[0]?.writeHead(503).end();
    expect(await refused).toBe("idp_unreachable");
  });

  test("a store that breaks just then refuses; the person signs in again at the worst", async () => {
    rotateTo("refresh-token-1");
    const broken = { ...store, setUnless: () => Promise.reject(new Refusal("store_unavailable", "redis: gone")) };
    expect(await codeOf(fresh(refreshing(idp, broken, { now: () => now })))).toBe("store_unavailable");
    answerToken(400, { error: "invalid_grant" });
    expect(await codeOf(fresh())).toBe("sign_in_revoked");
  });

  test("a process that slept does not end the sign-in whose token another one has spent", async () => {
    idp.behavior.respond = (path, res) => {
      if (path !== "/token") return false;
      void one.grants.write(jane, { ...held, refreshToken: "refresh-token-1" }).then(() => {
        res.writeHead(400, { "content-type": "application/json" }).end('{"error":"invalid_grant"}');
      });
      return true;
    };
    const held = await one.grants.find(jane);
    expect(await codeOf(fresh())).toBe("refresh_under_way");
    delete idp.behavior.respond;
    expect(await fresh()).toMatchObject({ claimsAt: now });
    expect(one.revoked).toEqual([]);
  });

  test("a process that slept does not bring an ended sign-in back", async () => {
    idp.behavior.respond = (path) => {
      if (path === "/token")
        void one.grants.end(jane).then(() => {
          ended.resolve(undefined);
        });
      return false;
    };
    const ended = Promise.withResolvers<undefined>();
    idp.behavior.idToken = async (claims) => {
      await ended.promise;
      return signText(idp.key, JSON.stringify(claims));
    };
    rotateTo("refresh-token-1");
    expect(await codeOf(fresh())).toBe("sign_in_revoked");
    expect(await bare.get(`refresh:{${jane.refreshId ?? ""}}`)).toBeUndefined();
    expect(await codeOf(fresh())).toBe("sign_in_revoked");
    expect(one.revoked).toEqual([]);
  });
});

describe("one question at a time", () => {
  test("20 at once in one process: one, and its answer is everybody's", async () => {
    rotateTo("refresh-token-1");
    const said = await Promise.all(Array.from({ length: 20 }, () => fresh()));
    expect(new Set(said.map(({ claimsAt }) => claimsAt))).toEqual(new Set([now]));
    expect(shown(idp)).toEqual([GRANT.refreshToken]);
  });

  test("another process waits for the answer, and asks itself where that one died", async () => {
    const mark = `refresh:{${jane.refreshId ?? ""}}:asking`;
    await bare.add(mark, "a process that died", 30);
    let looks = 0;
    const other = refreshing(idp, store, {
      now: () => now,
      pause: () => {
        looks += 1;
        if (looks === 3) now += 30_001;
        return Promise.resolve();
      },
    });
    expect(await fresh(other)).toMatchObject({ claimsAt: now });
    expect(looks).toBe(3);
    expect(await bare.get(mark)).toBeUndefined();
  });

  test("who gets its turn when another process has just had the answer takes that one", async () => {
    const late = {
      ...store,
      add: async (key: string, value: string, ttlSeconds: number) => {
        await fresh();
        return store.add(key, value, ttlSeconds);
      },
    };
    expect(await fresh(refreshing(idp, late, { now: () => now }))).toMatchObject({ claimsAt: now });
    expect(shown(idp)).toHaveLength(1);
  });

  test("who waits for too long is refused for a moment, and nothing is asked", async () => {
    await bare.add(`refresh:{${jane.refreshId ?? ""}}:asking`, "a process that sleeps", 30);
    const other = refreshing(idp, store, { now: () => now, pause: () => Promise.resolve() });
    expect(await codeOf(fresh(other))).toBe("refresh_under_way");
    expect(shown(idp)).toEqual([]);
  });
});
