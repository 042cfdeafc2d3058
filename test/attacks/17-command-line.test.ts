import { createHash, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loginRequest } from "../support/authorization.ts";
import { CookieJar } from "../support/cookie-jar.ts";
import {
  codeFor,
  credentials,
  JANE,
  located,
  redeem,
  refresh,
  signIn,
  tokenRequest,
  type TokenAnswer,
} from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 17, but for DPoP: the command line's redirect, PKCE, codes and refresh tokens in other hands. */

let target: Target;
beforeAll(async () => {
  target = await startTarget();
});
afterAll(() => target.close());

/** The refused request as the ledger tells of it: who it was about, and where it came from. */
const theft = { client: "rolecall-cli", email: "jane@acme.example", address: "127.0.0.1", userAgent: "thief/1" };

const authorize = (query: URLSearchParams): Promise<Response> =>
  fetch(`${target.url}/oauth/auth?${query.toString()}`, { redirect: "manual" });

describe("the redirect", () => {
  test.for([
    "https://evil.example/callback",
    "http://127.0.0.1.evil.example/callback",
    "http://127.0.0.1.evil.example:53682/callback",
    "http://127.0.0.1@evil.example/callback",
    "http://127.0.0.1:80@evil.example/callback",
    "http://127.0.0.1:1@evil.example/callback",
    "http://evil.example@127.0.0.1/callback",
    "http://@127.0.0.1:53682/callback",
    "http://evil.example#@127.0.0.1/callback",
    "http://evil.example\\@127.0.0.1/callback",
    "http://127.0.0.1:53682\\@evil.example/callback",
    "http://127.0.0.1:53682\\callback",
    "http:\\\\127.0.0.1:53682/callback",
    "http:127.0.0.1:53682/callback",
    "http://127.0.0.1:53682/callback/../evil",
    "http://127.0.0.1:53682/x/../callback",
    "http://127.0.0.1:53682/callback/",
    "http://127.0.0.1:53682//callback",
    "http://127.0.0.1:53682/%63allback",
    "http://127.0.0.1:53682/callback?next=https://evil.example",
    "http://127.0.0.1:53682/callback?",
    "http://127.0.0.1:53682/callback#fragment",
    "http://127.0.0.1:53682/other",
    "http://127.0.0.1:53682",
    "http://127.0.0.1:99999/callback",
    "https://127.0.0.1:53682/callback",
    "HTTP://127.0.0.1:53682/callback",
    " http://127.0.0.1:53682/callback",
    "http://127.0.0.1:53682/callback\t",
    "http://localhost:53682/callback",
    "http://localhost/callback",
    "http://0.0.0.0:53682/callback",
    "http://127.0.0.2:53682/callback",
    "http://127.1:53682/callback",
    "http://127.0.0.1.:53682/callback",
    "http://0x7f.0.0.1:53682/callback",
    "http://0177.0.0.1:53682/callback",
    "http://2130706433:53682/callback",
    "http://１２７.0.0.1:53682/callback",
    "http://[::]:53682/callback",
    "http://[::1%25lo]:53682/callback",
    "http://[0:0:0:0:0:0:0:1]:53682/callback",
    "http://[::ffff:127.0.0.1]:53682/callback",
    "rolecall://callback",
    "javascript:alert(1)",
    "//127.0.0.1/callback",
    "",
  ])("%j is refused, and the browser is sent nowhere", async (redirectUri) => {
    const { answer, rows } = await target.recorded(() =>
      authorize(new URLSearchParams(loginRequest({ redirect_uri: redirectUri }).parameters)),
    );
    expect([answer.status, answer.headers.get("location")]).toEqual([400, null]);
    expect(answer.headers.getSetCookie()).toEqual([]);
    // Nobody is known yet.
    expect(rows).toEqual([]);
  });

  test("none at all, two of them, and one in a form beside the right one", async () => {
    const { parameters } = loginRequest();
    const missing = loginRequest({ redirect_uri: undefined }).parameters;
    const twice = new URLSearchParams(parameters);
    twice.append("redirect_uri", "https://evil.example/");
    for (const query of [new URLSearchParams(missing), twice]) {
      const answer = await authorize(query);
      expect([answer.status, answer.headers.get("location")]).toEqual([400, null]);
    }
    const address = `${target.url}/oauth/auth?${new URLSearchParams(parameters).toString()}`;
    const body = new URLSearchParams({ ...parameters, redirect_uri: "https://evil.example/" });
    const posted = await fetch(address, { method: "POST", body, redirect: "manual" });
    expect([posted.status, posted.headers.get("location")]).toEqual([404, null]);
  });

  test.for([
    ["a form", "form_post"],
    ["a fragment", "fragment"],
    ["a message to a page", "web_message"],
    ["a token", "query.jwt"],
  ])("that would bring the code as %s is refused", async ([, mode = ""]) => {
    const counted = await target.counted("authorization_invalid");
    for (const modes of [[mode], ["query", mode]]) {
      const query = new URLSearchParams(loginRequest().parameters);
      for (const one of modes) query.append("response_mode", one);
      const answer = await authorize(query);
      expect([answer.status, answer.headers.get("location")]).toEqual([400, null]);
    }
    expect(await target.counted("authorization_invalid")).toBe(counted + 2);
    expect(
      (await authorize(new URLSearchParams({ ...loginRequest().parameters, response_mode: "query" }))).status,
    ).toBe(303);
  });

  test.for(["http://127.0.0.1:53682/callback", "http://127.0.0.1:65535/callback", "http://[::1]:8080/callback"])(
    "to this very machine is taken: %s",
    async (redirectUri) => {
      const code = await codeFor(target, "okta", JANE, { redirect_uri: redirectUri });
      expect((await redeem(target, code)).status).toBe(200);
    },
  );
});

describe("PKCE (RFC 9700, 2.1.1)", () => {
  const s256 = createHash("sha256").update("v".repeat(43)).digest("base64url");
  test.for<[string, Record<string, string | undefined>]>([
    ["no challenge", { code_challenge: undefined, code_challenge_method: undefined }],
    ["a method without a challenge", { code_challenge: undefined }],
    ["plain", { code_challenge: "v".repeat(43), code_challenge_method: "plain" }],
    ["a challenge without a method, which means plain", { code_challenge_method: undefined }],
    ["an unknown method", { code_challenge: s256, code_challenge_method: "s256" }],
  ])("a request with %s gets no code", async ([, over]) => {
    const back = located(await authorize(new URLSearchParams(loginRequest(over).parameters)), target);
    expect([back.searchParams.get("error"), back.searchParams.get("code")]).toEqual(["invalid_request", null]);
  });

  test.for<[string, Record<string, string>]>([
    ["another verifier", { code_verifier: randomBytes(32).toString("base64url") }],
    ["an empty verifier", { code_verifier: "" }],
    ["its challenge as verifier", { code_verifier: s256 }],
    ["another redirect URI", { redirect_uri: "http://127.0.0.1:53683/callback" }],
    ["the same address in IPv6", { redirect_uri: "http://[::1]:53682/callback" }],
    ["another client", { client_id: "evil" }],
  ])("a stolen code with %s: one row, and its owner still gets in", async ([, change]) => {
    const code = await codeFor(target, "okta", JANE);
    const { answer, rows } = await target.recorded(() => redeem(target, code, change));
    expect([400, 401]).toContain(answer.status);
    expect(answer.body["access_token"]).toBeUndefined();
    expect(rows).toHaveLength(1);
    const { requestId } = answer;
    expect(rows[0]).toMatchObject({ ...theft, type: "credentials.denied", reason: "token_request_invalid", requestId });
    expect((await redeem(target, code)).status).toBe(200);
  });

  test("a made-up code is nobody's: no row", async () => {
    const { answer, rows } = await target.recorded(() =>
      redeem(target, { code: randomBytes(32).toString("base64url"), request: loginRequest() }),
    );
    expect([answer.status, answer.body["error"], rows]).toEqual([400, "invalid_grant", []]);
  });
});

describe("used twice", () => {
  /** Every token of these is worth nothing any more. */
  async function expectDead(...answers: TokenAnswer[]): Promise<void> {
    for (const { body } of answers) {
      expect((await credentials(target, body["access_token"] ?? "")).status).toBe(401);
      expect(await refresh(target, body["refresh_token"])).toMatchObject({ status: 400 });
    }
  }
  const signedIn = async (): Promise<TokenAnswer> => redeem(target, await codeFor(target, "okta", JANE));

  test("a code: what the first use gave is dead, in one row", async () => {
    const code = await codeFor(target, "okta", JANE);
    const first = await redeem(target, code);
    expect((await credentials(target, first.body["access_token"] ?? "")).status).toBe(200);
    const { answer, rows } = await target.recorded(() => redeem(target, code));
    expect(answer).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
    expect(rows).toMatchObject([
      { ...theft, type: "grant.reused", reason: "grant_reused", requestId: answer.requestId },
    ]);
    expect((await target.recorded(() => expectDead(first))).rows).toEqual([]);
  });

  test("a refresh token: the whole family dies, its children too, in one row; other sign-ins live", async () => {
    const [first, desktop] = [await signedIn(), await signedIn()];
    const second = await refresh(target, first.body["refresh_token"]);
    const third = await refresh(target, second.body["refresh_token"]);
    expect((await credentials(target, third.body["access_token"] ?? "")).status).toBe(200);
    const { answer, rows } = await target.recorded(() => refresh(target, first.body["refresh_token"]));
    expect(rows).toMatchObject([
      { ...theft, type: "grant.reused", reason: "grant_reused", requestId: answer.requestId },
    ]);
    expect((await target.recorded(() => expectDead(first, second, third))).rows).toEqual([]);
    expect((await credentials(target, desktop.body["access_token"] ?? "")).status).toBe(200);
    expect((await refresh(target, desktop.body["refresh_token"])).status).toBe(200);
  });

  test.for([2, 20])(
    "a refresh token %i times at once, at two brokers: one answer, which is dead; one row",
    async (times) => {
      const other = await target.second();
      const first = await signedIn();
      const { answer: answers, rows } = await target.recorded(() =>
        Promise.all(
          Array.from({ length: times }, (_, i) => refresh(i % 2 === 0 ? target : other, first.body["refresh_token"])),
        ),
      );
      const winners = answers.filter(({ status }) => status === 200);
      expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array<number>(times - 1).fill(400)]);
      expect(rows).toMatchObject([{ ...theft, type: "grant.reused" }]);
      await expectDead(first, ...winners);
    },
  );

  test("a code ten times at once: one answer, which is dead; one row", async () => {
    const code = await codeFor(target, "okta", JANE);
    const { answer: answers, rows } = await target.recorded(() =>
      Promise.all(Array.from({ length: 10 }, () => redeem(target, code))),
    );
    expect(rows).toMatchObject([{ ...theft, type: "grant.reused" }]);
    await expectDead(...answers.filter(({ status }) => status === 200));
  });

  test("an approval: the second answer is refused", async () => {
    const { jar } = await signIn(target, "okta", JANE);
    const asked = await jar.get(`/oauth/auth?${new URLSearchParams(loginRequest().parameters).toString()}`);
    const page = located(asked, target).pathname;
    const answers = await Promise.all([1, 2, 3].map(() => jar.post(page, { decision: "approve" })));
    expect(answers.map(({ status }) => status).sort()).toEqual([303, 400, 400]);
  });

  test("an approval from another site, or of another browser: refused, and the person can still answer", async () => {
    const { jar } = await signIn(target, "okta", JANE);
    const thief = (await signIn(target, "okta", JANE)).jar;
    const asked = await jar.get(`/oauth/auth?${new URLSearchParams(loginRequest().parameters).toString()}`);
    const page = located(asked, target).pathname;
    const forged = await target.recorded(() =>
      jar.post(page, { decision: "approve" }, { "sec-fetch-site": "cross-site", origin: "https://evil.example" }),
    );
    expect(forged.answer.status).toBe(403);
    expect(forged.rows).toMatchObject([{ type: "credentials.denied", reason: "cross_site_request" }]);
    const foreign = await target.recorded(() => thief.post(page, { decision: "approve" }));
    expect(foreign.answer.status).toBe(400);
    expect(foreign.rows).toMatchObject([{ type: "credentials.denied", reason: "approval_unknown" }]);
    expect((await jar.post(page, { decision: "approve" })).status).toBe(303);
  });
});

describe("a token of less", () => {
  test("than the scope credentials gets none, in one row", async () => {
    const { body } = await redeem(target, await codeFor(target, "okta", JANE));
    const less = await refresh(target, body["refresh_token"], { scope: "openid" });
    const { answer, rows } = await target.recorded(() =>
      credentials(target, less.body["access_token"] ?? "", { headers: { "user-agent": "thief/1" } }),
    );
    expect(answer).toMatchObject({ status: 403, body: { code: "scope_missing" } });
    expect(rows).toMatchObject([{ ...theft, type: "credentials.denied", reason: "scope_missing" }]);
  });

  test("can't be made one of more", async () => {
    const { body } = await redeem(target, await codeFor(target, "okta", JANE, { scope: "openid" }));
    const { answer, rows } = await target.recorded(() =>
      refresh(target, body["refresh_token"], { scope: "openid credentials" }),
    );
    expect(answer).toMatchObject({ status: 400, body: { error: "invalid_scope" } });
    expect(rows).toMatchObject([{ ...theft, type: "credentials.denied", reason: "token_request_invalid" }]);
  });

  test.for([["client_credentials"], ["password"], ["implicit"], ["urn:ietf:params:oauth:grant-type:device_code"]])(
    "is not given by %s",
    async ([grant = ""]) => {
      const { answer, rows } = await target.recorded(() => tokenRequest(target, { grant_type: grant }));
      expect(answer).toMatchObject({ status: 400, body: { error: "unsupported_grant_type" } });
      expect(rows).toEqual([]);
    },
  );

  test("counts in no other place than the header, and no cookie stands for one", async () => {
    const { body } = await redeem(target, await codeFor(target, "okta", JANE));
    const access = body["access_token"] ?? "";
    const { jar } = await signIn(target, "okta", JANE);
    expect((await credentials(target, "", { path: `/api/v1/credentials?access_token=${access}` })).status).toBe(401);
    expect((await jar.post("/api/v1/credentials", { access_token: access })).status).toBe(401);
    expect((await new CookieJar(target.url).get("/api/v1/whoami", { authorization: `Bearer ${access}` })).status).toBe(
      200,
    );
  });
});
