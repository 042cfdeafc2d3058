import { createHash, generateKeyPairSync } from "node:crypto";
import type { ServerResponse } from "node:http";
import { decodeProtectedHeader, exportJWK, importPKCS8, jwtVerify } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { OidcProvider } from "../../src/config/config.ts";
import { Refusal, type ReasonCode } from "../../src/flow/errors.ts";
import { mergeClaims, oidcClient, type OidcClient, type OidcOptions } from "../../src/idp/oidc.ts";
import {
  ACCESS_TOKEN,
  newSigningKey,
  signText,
  startHostileIdp,
  type Behavior,
  type Claims,
  type HostileIdp,
} from "../support/hostile-idp.ts";

const REDIRECT_URI = "http://127.0.0.1:4400/login/okta/callback";
const OPTIONS: OidcOptions = { redirectUri: REDIRECT_URI, allowLoopbackHttp: true, now: Date.now };

let idp: HostileIdp;
beforeEach(async () => {
  idp = await startHostileIdp();
});
afterEach(() => idp.close());

function clientOf(over: Partial<OidcProvider> = {}, options: Partial<OidcOptions> = {}): OidcClient {
  return oidcClient({ ...idp.provider, ...over }, { ...OPTIONS, ...options });
}

/** The whole way, with the browser's part done by fetch. */
async function signIn(client = clientOf(), paths: string[] = []): Promise<Record<string, unknown>> {
  const { url, pending } = await client.begin();
  const redirect = await fetch(url, { redirect: "manual" });
  const callback = new URL(redirect.headers.get("location") ?? "").searchParams;
  return (await client.finish(callback, pending, paths)).claims;
}

async function refusalOf(work: Promise<unknown>): Promise<Refusal> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

async function codeOf(work: Promise<unknown>): Promise<ReasonCode> {
  return (await refusalOf(work)).code;
}

function paths(): string[] {
  return idp.seen.map(({ path }) => path);
}

describe("begin", () => {
  test("sends state, nonce and a PKCE challenge, new each time, and asks for a code", async () => {
    const client = clientOf({ scopes: ["openid", "groups"] });
    const [first, second] = [await client.begin(), await client.begin()];
    const query = new URL(first.url).searchParams;
    expect(Object.fromEntries(query)).toEqual({
      client_id: idp.provider.clientId,
      response_type: "code",
      redirect_uri: REDIRECT_URI,
      scope: "openid groups",
      state: first.pending.state,
      nonce: first.pending.nonce,
      code_challenge: expect.stringMatching(/^[\w-]{43}$/) as string,
      code_challenge_method: "S256",
    });
    for (const name of ["state", "nonce", "verifier"] as const) {
      expect(first.pending[name]).toMatch(/^[\w-]{43}$/);
      expect(first.pending[name]).not.toBe(second.pending[name]);
    }
  });

  test("names the organization that the sign-in is pinned to", async () => {
    const { url } = await clientOf({ organization: "org_a" }).begin();
    expect(new URL(url).searchParams.get("organization")).toBe("org_a");
  });
});

describe("a provider's metadata", () => {
  test("is not read before the first sign-in, and then once for many", async () => {
    const client = clientOf();
    expect(idp.seen).toEqual([]);
    await client.begin();
    await client.begin();
    expect(paths()).toEqual(["/.well-known/openid-configuration"]);
  });

  test("is read again when it is old, and the last good one serves while the provider is down", async () => {
    let now = Date.now();
    const client = clientOf({}, { now: () => now });
    await client.begin();
    now += 11 * 60_000;
    await client.begin();
    expect(paths()).toHaveLength(2);
    idp.behavior.respond = (_path, res) => Boolean(res.writeHead(503).end());
    now += 11 * 60_000;
    await client.begin();
    await client.begin();
    expect(paths()).toHaveLength(3);
    now += 25 * 60 * 60_000;
    expect(await codeOf(client.begin())).toBe("idp_unreachable");
  });

  test("that could not be read is asked for again", async () => {
    const client = clientOf();
    idp.behavior.respond = (_path, res) => Boolean(res.writeHead(503).end());
    expect(await codeOf(client.begin())).toBe("idp_unreachable");
    idp.behavior = {};
    expect((await client.begin()).url).toContain(idp.issuer);
  });

  test.each<[string, string, string]>([
    ["a slash more", "", "/"],
    ["a slash less", "/", ""],
    ["another case", "/Tenant", "/tenant"],
  ])("naming the issuer with %s is another's", async (_name, configured, named) => {
    idp.behavior.metadata = (document) => ({ ...document, issuer: `${idp.issuer}${named}` });
    expect(await codeOf(clientOf({ issuer: `${idp.issuer}${configured}` }).begin())).not.toBe("idp_unreachable");
    expect(paths().every((path) => path.toLowerCase().endsWith("openid-configuration"))).toBe(true);
  });

  test("of an issuer that ends in a slash is taken", async () => {
    await idp.close();
    idp = await startHostileIdp({}, "");
    idp.behavior.metadata = (document) => ({ ...document, issuer: `${idp.issuer}/` });
    idp.behavior.claims = (claims) => ({ ...claims, iss: `${idp.issuer}/` });
    expect(await signIn(clientOf({ issuer: `${idp.issuer}/` }))).toMatchObject({ sub: "00u1" });
    expect(await codeOf(clientOf().begin())).toBe("issuer_mismatch");
  });

  test.each<[string, (document: Claims) => Claims]>([
    [
      "another host's authorization endpoint over http",
      (it) => ({ ...it, authorization_endpoint: "http://evil.example/" }),
    ],
    ["a script as authorization endpoint", (it) => ({ ...it, authorization_endpoint: "javascript:alert(1)" })],
    ["no authorization endpoint", (it) => ({ ...it, authorization_endpoint: undefined })],
    ["no jwks_uri", (it) => ({ ...it, jwks_uri: undefined })],
  ])("with %s is refused", async (_name, metadata) => {
    idp.behavior.metadata = metadata;
    expect(await codeOf(clientOf().begin())).toBe("idp_response_invalid");
  });

  test("is not read over plain http unless that is allowed, and then from this machine alone", async () => {
    expect(await codeOf(clientOf({}, { allowLoopbackHttp: false }).begin())).toBe("idp_response_invalid");
    expect(await codeOf(clientOf({ issuer: "http://id.acme.example" }).begin())).toBe("idp_response_invalid");
    expect(idp.seen).toEqual([]);
  });
});

describe("finish", () => {
  test("gives the ID token's claims, and asks userinfo for nothing that is there", async () => {
    idp.behavior.claims = (claims) => ({ ...claims, groups: ["a"] });
    expect(await signIn(clientOf(), ["groups"])).toMatchObject({
      sub: "00u1",
      email: "jane@acme.example",
      groups: ["a"],
    });
    expect(paths()).not.toContain("/userinfo");
  });

  test("asks userinfo for what a rule reads and the ID token lacks; what both have is the ID token's", async () => {
    idp.behavior.userinfo = { sub: "00u1", groups: ["a"], email: "other@acme.example" };
    const claims = await signIn(clientOf(), ["groups"]);
    expect(claims).toMatchObject({ groups: ["a"], email: "jane@acme.example", email_verified: true });
    expect(idp.seen.at(-1)?.authorization).toBe(`Bearer ${ACCESS_TOKEN}`);
  });

  test("asks userinfo for an email that the ID token lacks", async () => {
    idp.behavior.claims = (claims) => ({ ...claims, email: undefined, email_verified: undefined });
    idp.behavior.userinfo = { sub: "00u1", email: "jane@acme.example", email_verified: true };
    expect(await signIn()).toMatchObject({ email: "jane@acme.example", email_verified: true });
  });

  test("does without userinfo where there is none, and for Entra ID", async () => {
    expect(await signIn(clientOf({ kind: "entra" }), ["groups"])).not.toHaveProperty("groups");
    idp.behavior.metadata = (document) => ({ ...document, userinfo_endpoint: undefined });
    expect(await signIn(clientOf(), ["groups"])).not.toHaveProperty("groups");
    expect(paths()).not.toContain("/userinfo");
  });

  test.each<[string, Behavior, ReasonCode]>([
    ["of another person", { userinfo: { sub: "00u2", groups: ["a"] } }, "idp_response_invalid"],
    ["without sub", { userinfo: { groups: ["a"] } }, "idp_response_invalid"],
    ["that is missing", {}, "idp_response_invalid"],
    [
      "that fails",
      { respond: (path, res) => path === "/userinfo" && Boolean(res.writeHead(500).end()) },
      "idp_unreachable",
    ],
    [
      "that wants another token",
      {
        respond: (path, res) =>
          path === "/userinfo" &&
          Boolean(res.writeHead(401, { "www-authenticate": "Bearer error=invalid_token" }).end()),
      },
      "idp_response_invalid",
    ],
  ])("refuses userinfo %s", async (_name, behavior, code) => {
    idp.behavior = behavior;
    expect(await codeOf(signIn(clientOf(), ["groups"]))).toBe(code);
  });

  test("takes userinfo in a JWT from the provider's own key alone", async () => {
    idp.behavior.metadata = (it) => ({ ...it, userinfo_signing_alg_values_supported: ["RS256"] });
    const jwt = JSON.stringify({ sub: "00u1", groups: ["a"] });
    const signed = { own: await signText(idp.key, jwt), other: await signText(await newSigningKey(), jwt) };
    const answering = (text: string) => (path: string, res: ServerResponse) =>
      path === "/userinfo" && Boolean(res.writeHead(200, { "content-type": "application/jwt" }).end(text));
    idp.behavior.respond = answering(signed.own);
    expect(await signIn(clientOf(), ["groups"])).toMatchObject({ groups: ["a"] });
    idp.behavior.respond = answering(signed.other);
    expect(await codeOf(signIn(clientOf(), ["groups"]))).toBe("idp_response_invalid");
    idp.behavior.metadata = (it) => it;
    expect(await codeOf(signIn(clientOf(), ["groups"]))).toBe("idp_response_invalid");
  });

  test("takes an audience in a list of one, a token without typ or kid, and its right at_hash", async () => {
    const half = createHash("sha256").update(ACCESS_TOKEN).digest().subarray(0, 16).toString("base64url");
    idp.behavior.claims = (claims) => ({
      ...claims,
      aud: [idp.provider.clientId],
      azp: idp.provider.clientId,
      at_hash: half,
    });
    idp.behavior.idToken = (claims) => signText(idp.key, JSON.stringify(claims), { kid: undefined });
    expect(await signIn()).toMatchObject({ sub: "00u1" });
  });

  test("sends code, verifier and redirect URI, and proves itself, once", async () => {
    const { url, pending } = await clientOf().begin();
    const redirect = await fetch(url, { redirect: "manual" });
    const callback = new URL(redirect.headers.get("location") ?? "").searchParams;
    await clientOf().finish(callback, pending, []);
    const [request, ...more] = idp.seen.filter(({ path }) => path === "/token");
    expect(more).toEqual([]);
    expect(Object.fromEntries(request?.body ?? [])).toEqual({
      grant_type: "authorization_code",
      code: callback.get("code"),
      redirect_uri: REDIRECT_URI,
      code_verifier: pending.verifier,
    });
    const [user = "", password = ""] = Buffer.from((request?.authorization ?? "").slice(6), "base64")
      .toString()
      .split(":");
    expect(new URLSearchParams(`${user}=${password}`).get("client-of-rolecall")).toBe("the client's secret");
  });
});

describe("keys", () => {
  test("that the provider changed at once, without overlap, are read at once", async () => {
    const client = clientOf();
    await signIn(client);
    idp.key = await newSigningKey("key-2");
    expect(await signIn(client)).toMatchObject({ sub: "00u1" });
    expect(paths().filter((path) => path === "/jwks")).toHaveLength(2);
  });

  test("are not read for each sign-in", async () => {
    const client = clientOf();
    await signIn(client);
    await signIn(client);
    expect(paths().filter((path) => path === "/jwks")).toHaveLength(1);
  });

  test("of ECDSA are taken", async () => {
    idp.key = await newSigningKey("ec", "ES256");
    expect(await signIn()).toMatchObject({ sub: "00u1" });
  });

  test("are found by the one that fits where several have no name", async () => {
    const stale = await newSigningKey("key-0", "ES256");
    idp.behavior.jwks = () => [stale.publicJwk, idp.key.publicJwk];
    idp.behavior.idToken = (claims) => signText(idp.key, JSON.stringify(claims), { kid: undefined });
    expect(await signIn()).toMatchObject({ sub: "00u1" });
  });
});

describe("the answer to the browser", () => {
  test.each<[string, (answer: URLSearchParams) => void, ReasonCode]>([
    [
      "with another issuer's iss",
      (it) => {
        it.set("iss", "https://evil.example");
      },
      "issuer_mismatch",
    ],
    [
      "with iss twice",
      (it) => {
        it.append("iss", idp.issuer);
        it.append("iss", "https://evil.example");
      },
      "issuer_mismatch",
    ],
    [
      "with another state",
      (it) => {
        it.set("state", "x");
      },
      "idp_response_invalid",
    ],
    [
      "without state",
      (it) => {
        it.delete("state");
      },
      "idp_response_invalid",
    ],
    [
      "with state twice",
      (it) => {
        it.append("state", "x");
      },
      "idp_response_invalid",
    ],
    [
      "without code",
      (it) => {
        it.delete("code");
      },
      "idp_response_invalid",
    ],
    [
      "with code twice",
      (it) => {
        it.append("code", "x");
      },
      "idp_response_invalid",
    ],
    [
      "with a token of the implicit flow",
      (it) => {
        it.set("id_token", "x");
      },
      "idp_response_invalid",
    ],
    [
      "access_denied",
      (it) => {
        it.delete("code");
        it.set("error", "access_denied");
      },
      "idp_denied",
    ],
    [
      "login_required",
      (it) => {
        it.delete("code");
        it.set("error", "login_required");
      },
      "idp_denied",
    ],
    [
      "an error beside a code",
      (it) => {
        it.set("error", "access_denied");
      },
      "idp_denied",
    ],
    [
      "an error of no known form",
      (it) => {
        it.set("error", "<b>constructor</b>");
      },
      "idp_denied",
    ],
    [
      "an error named as a property is",
      (it) => {
        it.set("error", "constructor");
      },
      "idp_denied",
    ],
    [
      "unauthorized_client",
      (it) => {
        it.set("error", "unauthorized_client");
      },
      "idp_client_rejected",
    ],
    [
      "temporarily_unavailable",
      (it) => {
        it.set("error", "temporarily_unavailable");
      },
      "idp_unreachable",
    ],
  ])("%s: refused, without a token request", async (_name, callback, code) => {
    idp.behavior.callback = callback;
    expect(await codeOf(signIn())).toBe(code);
    expect(paths()).not.toContain("/token");
  });

  test("needs its iss where the provider promised one, and may do without where it did not", async () => {
    expect(await signIn()).toMatchObject({ sub: "00u1" });
    idp.behavior.callback = (answer) => {
      answer.set("iss", idp.issuer);
    };
    idp.behavior.metadata = (it) => ({ ...it, authorization_response_iss_parameter_supported: true });
    expect(await signIn(clientOf())).toMatchObject({ sub: "00u1" });
    idp.behavior.callback = () => undefined;
    expect(await codeOf(signIn(clientOf()))).toBe("issuer_mismatch");
  });
});

describe("the provider's failures", () => {
  const json = { "content-type": "application/json" };
  const tokenAnswer = (status: number, body: unknown, headers: Record<string, string> = json): Behavior => ({
    respond: (path, res) => path === "/token" && Boolean(res.writeHead(status, headers).end(JSON.stringify(body))),
  });

  test.each<[string, Behavior, ReasonCode]>([
    ["a wrong secret", tokenAnswer(401, { error: "invalid_client" }), "idp_client_rejected"],
    ["a wrong secret, as a 400", tokenAnswer(400, { error: "invalid_client" }), "idp_client_rejected"],
    [
      "a wrong secret, with a challenge",
      tokenAnswer(401, {}, { ...json, "www-authenticate": "Basic" }),
      "idp_client_rejected",
    ],
    ["a wrong secret, as Auth0 says it", tokenAnswer(401, { error: "access_denied" }), "idp_client_rejected"],
    ["a wrong secret, without JSON", tokenAnswer(401, {}, {}), "idp_client_rejected"],
    ["a client that may not use the flow", tokenAnswer(400, { error: "unauthorized_client" }), "idp_client_rejected"],
    ["a code used before", tokenAnswer(400, { error: "invalid_grant" }), "idp_response_invalid"],
    ["an answer that is no object", tokenAnswer(200, []), "idp_response_invalid"],
    ["an answer without tokens", tokenAnswer(200, {}), "idp_response_invalid"],
    ["too many requests", tokenAnswer(429, {}), "idp_unreachable"],
    ["a failing server", tokenAnswer(502, "<html>"), "idp_unreachable"],
    ["a redirect", tokenAnswer(307, {}, { location: "https://evil.example" }), "idp_response_invalid"],
    ["more than a mebibyte", { tokens: (it) => ({ ...it, padding: "x".repeat(1024 * 1024) }) }, "idp_response_invalid"],
    [
      "a connection that ends",
      { respond: (path, res) => path === "/token" && Boolean(res.destroy()) },
      "idp_unreachable",
    ],
    [
      "keys that can't be read",
      { respond: (path, res) => path === "/jwks" && Boolean(res.writeHead(500).end()) },
      "idp_unreachable",
    ],
    [
      "keys that are none",
      { respond: (path, res) => path === "/jwks" && Boolean(res.writeHead(200, json).end("[]")) },
      "idp_response_invalid",
    ],
    ["no keys", { jwks: () => [] }, "idp_response_invalid"],
  ])("%s", async (_name, behavior, code) => {
    idp.behavior = behavior;
    expect(await codeOf(signIn())).toBe(code);
  });

  test("metadata that is a page, too large, or not there", async () => {
    const answers = ["<html>", "{}"];
    for (const body of answers) {
      idp.behavior.respond = (_path, res) => Boolean(res.writeHead(200, json).end(body));
      expect(await codeOf(clientOf().begin())).toBe("idp_response_invalid");
    }
    idp.behavior.respond = (_path, res) => Boolean(res.writeHead(404).end());
    expect(await codeOf(clientOf().begin())).toBe("idp_response_invalid");
    idp.behavior = { metadata: (document) => ({ ...document, padding: "x".repeat(1024 * 1024) }) };
    expect(await codeOf(clientOf().begin())).toBe("idp_response_invalid");
  });

  test("nobody at the address", async () => {
    await idp.close();
    expect(await codeOf(clientOf().begin())).toBe("idp_unreachable");
    idp = await startHostileIdp();
  });

  test("no answer, or one that never ends, before the deadline of all requests together", async () => {
    const client = clientOf({}, { timeoutMs: 150 });
    await client.begin();
    idp.behavior.respond = (path) => path === "/token";
    expect(await codeOf(signIn(client))).toBe("idp_unreachable");
    idp.behavior.respond = (path, res) => path === "/jwks" && res.writeHead(200, json).write('{"keys":[');
    expect(await codeOf(signIn(client))).toBe("idp_unreachable");
  });

  test("are told without code, token, secret or the provider's own words", async () => {
    const said = "the provider's own words";
    const behaviors: Behavior[] = [
      tokenAnswer(400, { error: "invalid_grant", error_description: said }),
      tokenAnswer(401, { error: "invalid_client", error_description: said }),
      tokenAnswer(200, `{"access_token":"${ACCESS_TOKEN}"`),
      { claims: (claims) => ({ ...claims, aud: "another", said }) },
      {
        callback: (answer) => {
          answer.set("error", "access_denied");
          answer.set("error_description", said);
        },
      },
      {
        callback: (answer) => {
          answer.set("error", said);
        },
      },
      { userinfo: { sub: said } },
    ];
    for (const behavior of behaviors) {
      idp.behavior = behavior;
      const refusal = await refusalOf(signIn(clientOf(), ["groups"]));
      const told = [refusal.message, refusal.stack, JSON.stringify(refusal), String(refusal.cause)].join("\n");
      for (const secret of [said, ACCESS_TOKEN, "the client's secret", "jane@"]) expect(told).not.toContain(secret);
      expect(refusal.cause).toBeUndefined();
    }
  });
});

describe("the client proves itself", () => {
  const tokenRequest = async (clientAuth: OidcProvider["clientAuth"], metadata: Claims = {}) => {
    idp.behavior.metadata = (document) => ({ ...document, ...metadata });
    await signIn(clientOf({ clientAuth }));
    const request = idp.seen.find(({ path }) => path === "/token");
    if (!request) throw new Error("there was no token request");
    return request;
  };

  test("by its secret in the body, and only there", async () => {
    const { authorization, body } = await tokenRequest({ method: "client_secret_post", secret: "s3cr3t &=" });
    expect(authorization).toBeUndefined();
    expect(body.get("client_secret")).toBe("s3cr3t &=");
  });

  test("by its secret in the header, and only there", async () => {
    const { authorization, body } = await tokenRequest({ method: "client_secret_basic", secret: "s3cr3t" });
    expect(authorization).toMatch(/^Basic /);
    expect(body.has("client_secret")).toBe(false);
  });

  test.each([
    ["ES256", "ec", {}],
    ["RS256", "rsa", {}],
    ["RS256", "rsa", { token_endpoint_auth_signing_alg_values_supported: ["PS256", "RS256"] }],
    ["PS256", "rsa", { token_endpoint_auth_signing_alg_values_supported: ["PS256"] }],
  ] as const)("by a %s assertion with a key of type %s %j", async (alg, type, metadata) => {
    const pem = clientKey(type);
    const { body } = await tokenRequest({ method: "private_key_jwt", key: pem }, { ...metadata } as Claims);
    const assertion = body.get("client_assertion") ?? "";
    const publicJwk = await exportJWK(await importPKCS8(pem, alg, { extractable: true }));
    delete publicJwk.d;
    const { payload } = await jwtVerify(assertion, publicJwk, { algorithms: [alg], audience: idp.issuer });
    expect(payload).toMatchObject({ iss: idp.provider.clientId, sub: idp.provider.clientId });
    expect(decodeProtectedHeader(assertion).kid).toMatch(/^[\w-]{43}$/);
    expect(body.has("client_secret")).toBe(false);
  });

  test("not by a key that has no algorithm here", () => {
    const { privateKey } = generateKeyPairSync("ed25519");
    const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    expect(() => clientOf({ clientAuth: { method: "private_key_jwt", key } })).toThrow("must be an RSA or a P-256 key");
  });

  function clientKey(type: "ec" | "rsa"): string {
    const { privateKey } =
      type === "ec"
        ? generateKeyPairSync("ec", { namedCurve: "P-256" })
        : generateKeyPairSync("rsa", { modulusLength: 2048 });
    return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  }
});

describe("claims of both", () => {
  test("an email counts as verified only by the one that brought it, or that agrees", () => {
    const verified = { sub: "1", email: "b@acme.example", email_verified: true };
    expect(mergeClaims({ sub: "1", email: "a@acme.example" }, verified)).not.toHaveProperty("email_verified");
    expect(mergeClaims({ sub: "1", email: "b@acme.example" }, verified)).toHaveProperty("email_verified", true);
    expect(mergeClaims({ sub: "1" }, verified)).toEqual(verified);
    expect(mergeClaims({ ...verified, email_verified: false }, verified)).toHaveProperty("email_verified", false);
    expect(mergeClaims({ sub: "1", email_verified: true }, { sub: "1", email: "b@acme.example" })).not.toHaveProperty(
      "email_verified",
    );
  });
});
