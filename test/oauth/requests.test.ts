import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memoryStore } from "../../src/store/memory.ts";
import {
  approve,
  loginRequest,
  newCode,
  open,
  signedIn,
  startAuthorization,
  target,
  token,
  tokensOf,
  type Authorization,
} from "../support/authorization.ts";
import { startBrokers, type Brokers } from "../support/brokers.ts";
import { PathCookies } from "../support/path-cookies.ts";

let brokers: Brokers;
let of: Authorization;

beforeAll(async () => {
  brokers = await startBrokers();
  ({ of } = brokers);
});
afterAll(() => brokers.close());

describe("where the answer goes (RFC 8252, 7.3 and 8.3)", () => {
  it("redeems no code for another address than the one it was sent to", async () => {
    const { redeem } = await newCode(of);
    expect((await redeem({ redirect_uri: "http://127.0.0.1:1/callback" })).body["error"]).toBe("invalid_grant");
    expect((await redeem()).status).toBe(200);
  });

  it("follows neither Host nor X-Forwarded-*", async () => {
    const { parameters } = loginRequest();
    const evil = { host: "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-proto": "https" };
    const address = new URL(`${of.issuer}/auth?${new URLSearchParams(parameters).toString()}`);
    const [answer] = (await once(httpRequest(address, { headers: evil }).end(), "response")) as [IncomingMessage];
    answer.resume();
    expect(answer.statusCode).toBe(303);
    expect(answer.headers.location).toMatch(/^\/oauth\/approve\//);
    expect(JSON.stringify(answer.headers)).not.toContain("evil");
  });
});

describe("a live code or refresh token that is brought and refused", () => {
  it.each<[name: string, changes: Record<string, string | undefined>]>([
    ["another verifier", { code_verifier: randomBytes(32).toString("base64url") }],
    ["no verifier", { code_verifier: undefined }],
    ["another redirect URI", { redirect_uri: "http://127.0.0.1:53683/callback" }],
    ["another client", { client_id: "evil" }],
  ])("is reported once, with the person whose it is: %s", async (_name, changes) => {
    const { redeem } = await newCode(of);
    of.refused.length = 0;
    expect((await redeem(changes)).status).toBeGreaterThanOrEqual(400);
    expect(of.refused).toMatchObject([{ clientId: "rolecall-cli", identity: of.person }]);
    expect((await redeem()).status).toBe(200);
    expect(of.refused).toHaveLength(1);
  });

  it("is reported where more is asked for than was granted", async () => {
    const { refresh: refreshToken } = tokensOf(await (await newCode(of, { scope: "openid" })).redeem());
    of.refused.length = 0;
    const scope = "openid credentials";
    const answer = await token(of, { grant_type: "refresh_token", refresh_token: refreshToken, scope });
    expect(answer.body["error"]).toBe("invalid_scope");
    expect(of.refused).toHaveLength(1);
  });

  it("is not reported a second time where it was used twice, and a made-up one not at all", async () => {
    const { redeem } = await newCode(of);
    of.refused.length = 0;
    await redeem();
    for (const changes of [{}, {}, { code: "made-up" }]) expect((await redeem(changes)).status).toBe(400);
    expect(of.reused).toHaveLength(1);
    expect(of.refused).toEqual([]);
  });

  it("is refused also where that can't be recorded", async () => {
    const onTokenRefused = (): Promise<void> => Promise.reject(new Error("no ledger"));
    const deaf = await startAuthorization(memoryStore(), { onTokenRefused });
    try {
      const { redeem } = await newCode(deaf);
      expect((await redeem({ code_verifier: undefined })).status).toBe(400);
      expect(deaf.log.lines.at(-1)?.message).toBe("a refused token request could not be recorded");
    } finally {
      await deaf.close();
    }
  });
});

describe("tokens", () => {
  it.each<[name: string, make: () => Promise<string>]>([
    ["an unknown token", () => Promise.resolve(randomBytes(32).toString("base64url"))],
    ["an empty one", () => Promise.resolve("")],
    ["a refresh token", async () => (await signedIn(of)).refresh],
    ["a code", async () => (await newCode(of)).code],
  ])("%s gives access to nothing", async (_name, make) => {
    expect(await of.server.grantOf(await make())).toBeUndefined();
  });

  it.each(["openid", "openid offline_access"])("of the scope %s may not be given credentials", async (scope) => {
    const asked = tokensOf(await (await newCode(of, { scope })).redeem());
    expect(await of.server.grantOf(asked.access)).toMatchObject({ mayIssue: false });
    const whole = await signedIn(of);
    const less = await token(of, { grant_type: "refresh_token", refresh_token: whole.refresh, scope });
    expect(await of.server.grantOf(tokensOf(less).access)).toMatchObject({ mayIssue: false });
    expect(await of.server.grantOf(whole.access)).toMatchObject({ mayIssue: true });
  });

  it.each<[name: string, fields: Record<string, string>, error: string]>([
    ["another client", { client_id: "evil", grant_type: "refresh_token" }, "invalid_client"],
    ["client_credentials", { grant_type: "client_credentials" }, "unsupported_grant_type"],
    ["password", { grant_type: "password", username: "jane", password: "x" }, "unsupported_grant_type"],
    ["implicit", { grant_type: "implicit" }, "unsupported_grant_type"],
  ])("are not given to %s", async (_name, fields, error) => {
    const answer = await token(of, fields);
    expect(answer.status).toBe(error === "invalid_client" ? 401 : 400);
    expect(answer.body["error"]).toBe(error);
  });

  it.each(["token", "id_token", "code id_token", "code token", "none"])(
    "are not sent through the browser: response_type %s",
    async (responseType) => {
      const request = loginRequest({ response_type: responseType, nonce: "n" });
      const back = target(await open(of, new PathCookies(of.url), request));
      expect(back.href).toContain("unsupported_response_type");
    },
  );
});

describe("the surface", () => {
  it("publishes what it can and no more", async () => {
    const answer = await fetch(`${of.issuer}/.well-known/openid-configuration`);
    const document = (await answer.json()) as Record<string, unknown>;
    const endpoints = Object.keys(document).filter((key) => key.endsWith("_endpoint") || key.endsWith("_uri"));
    expect(endpoints.sort()).toEqual(["authorization_endpoint", "jwks_uri", "revocation_endpoint", "token_endpoint"]);
    expect(document).toMatchObject({
      issuer: of.issuer,
      token_endpoint: `${of.issuer}/token`,
      code_challenge_methods_supported: ["S256"],
      response_types_supported: ["code"],
      grant_types_supported: ["authorization_code", "refresh_token"],
      token_endpoint_auth_methods_supported: ["none"],
      id_token_signing_alg_values_supported: ["ES256"],
      authorization_response_iss_parameter_supported: true,
    });
    const { keys } = (await (await fetch(`${of.issuer}/jwks`)).json()) as { keys: Record<string, unknown>[] };
    expect(keys.map((key) => Object.keys(key).sort())).toEqual([["alg", "crv", "kid", "kty", "use", "x", "y"]]);
  });

  it.each(["me", "reg", "device/auth", "request", "token/introspection", "session/end", "interaction/x"])(
    "has nothing at %s",
    async (path) => {
      expect((await fetch(`${of.issuer}/${path}`)).status).toBe(404);
      const posted = await fetch(`${of.issuer}/${path}`, { method: "POST", body: new URLSearchParams() });
      expect(posted.status).toBe(404);
    },
  );

  it("answers no page of another origin", async () => {
    const { refresh: refreshToken } = await signedIn(of);
    const body = new URLSearchParams({
      client_id: "rolecall-cli",
      grant_type: "refresh_token",
      refresh_token: refreshToken,
    });
    const headers = { origin: "https://evil.example" };
    const answer = await fetch(`${of.issuer}/token`, { method: "POST", body, headers });
    expect(answer.headers.get("access-control-allow-origin")).toBeNull();
    expect(answer.headers.get("cache-control")).toContain("no-store");
  });

  it("shows what was sent as inert text", async () => {
    const answer = await open(of, new PathCookies(of.url), loginRequest({ client_id: "<script>alert(1)</script>" }));
    expect(answer.status).toBe(400);
    expect(answer.headers.get("content-type")).toMatch(/^text\/plain/);
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
  });
});

describe("a request that can't be answered", () => {
  it.each<[name: string, address: string, code: string]>([
    ["is none", "auth", "authorization_invalid"],
    ["has ended", `auth/${"x".repeat(43)}`, "approval_unknown"],
  ])("and %s is shown on the page of the broker's own", async (_name, address, code) => {
    const paged = await startAuthorization(memoryStore(), {
      errorPage: (refusal, req) => `<h1>${refusal.code} at ${String(req.url)}</h1>`,
    });
    try {
      const answer = await new PathCookies(paged.url).get(`${paged.issuer}/${address}`);
      expect([answer.status, await answer.text()]).toEqual([400, `<h1>${code} at /${address}</h1>`]);
      expect(answer.headers.get("content-type")).toMatch(/^text\/html/);
    } finally {
      await paged.close();
    }
  });

  it("grants nothing where no scope is asked for", async () => {
    const back = await approve(of, loginRequest({ scope: undefined }));
    expect([back.searchParams.get("error"), back.searchParams.get("code")]).toEqual(["access_denied", null]);
  });
});
