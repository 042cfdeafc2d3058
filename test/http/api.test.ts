import { once } from "node:events";
import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import express from "express";
import request from "supertest";
import { beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { Refusal, type ReasonCode } from "../../src/flow/errors.ts";
import { Exchanges } from "../../src/flow/exchange.ts";
import { decide, issueCredentials, type IssuePorts, type IssueSettings } from "../../src/flow/issue.ts";
import type { StsSession } from "../../src/flow/ports.ts";
import { rateLimits } from "../../src/flow/rate-limit.ts";
import { mapTags } from "../../src/flow/tags.ts";
import { apiRouter, type ApiParts } from "../../src/http/api.ts";
import { securityHeaders } from "../../src/http/guard.ts";
import { followRequests } from "../../src/http/requests.ts";
import { NO_TRACES } from "../../src/metrics/traces.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { recordingLog } from "../support/log.ts";
import { janeOf, recordingLedger, webConfig } from "../support/web.ts";

const BASE = "https://rolecall.acme.example";
const CREDENTIALS = "/api/v1/credentials";
const WHOAMI = "/api/v1/whoami";
const TOKEN = "a-live.access_token~1+/==";
const NOW = Date.UTC(2026, 10, 22, 20);
const ARN = "arn:aws:sts::111122223333:assumed-role/BedrockShared/jane@acme.example";

let ledger: ReturnType<typeof recordingLedger>;
let log: ReturnType<typeof recordingLog>;
let identity: ReturnType<typeof janeOf>;
/** What STS was asked for. */
let asked: { durationSeconds: number; sessionName: string }[];
let over: Partial<ApiParts>;
let mayIssue: boolean;

beforeEach(async () => {
  ledger = recordingLedger();
  log = recordingLog();
  asked = [];
  over = {};
  mayIssue = true;
  identity = janeOf("okta", { signedInAt: NOW - 60_500, claimsAt: NOW - 60_500 });
  await ledger.bind(identity, "jane@acme.example", { type: "identity.bound" });
  ledger.rows.length = 0;
});

/** The API over the real story; STS and the signature alone are stand-ins. */
function api(): express.Express {
  const config = webConfig(BASE);
  const settings: IssueSettings = {
    ...config.aws,
    mapping: config.mapping,
    issuer: `${BASE}/federation`,
    signInMaxAgeSeconds: config.signInMaxAgeSeconds,
    claimsMaxAgeSeconds: { okta: 3600 },
  };
  const ports: IssuePorts = {
    now: () => NOW,
    ledger,
    refreshClaims: () => Promise.reject(new Refusal("claims_expired", "the provider gave no refresh token")),
    mapTags,
    sign: () => Promise.resolve({ text: "the federation token", sha256: "0".repeat(64), keyId: "key-1" }),
    assumeRole: ({ durationSeconds, sessionName }) => {
      asked.push({ durationSeconds, sessionName });
      return Promise.resolve(session(sessionName, durationSeconds));
    },
    exchanges: new Exchanges(),
    requireLive: () => Promise.resolve(),
  };
  const parts: ApiParts = {
    config,
    authorizationServer: {
      grantOf: (token) =>
        Promise.resolve(
          token === TOKEN ? { grantId: "grant-1", clientId: "rolecall-cli", identity, mayIssue } : undefined,
        ),
    },
    issue: (issueRequest) => issueCredentials(ports, settings, issueRequest),
    decide: (of) => decide(ports, settings, of),
    limits: rateLimits(memoryStore(), config.rateLimits, () => undefined),
    ledger,
    log,
    ...over,
  };
  return express().use(
    followRequests({ metrics: { answered: () => undefined }, traces: NO_TRACES, log }),
    securityHeaders(BASE),
    apiRouter(parts),
  );
}

function session(sessionName: string, durationSeconds: number): StsSession {
  return {
    credentials: {
      accessKeyId: "ASIAEXAMPLE",
      secretAccessKey: "the secret key",
      sessionToken: "the session token",
      expiration: new Date(NOW + durationSeconds * 1000 + 250),
    },
    sessionArn: `arn:aws:sts::111122223333:assumed-role/BedrockShared/${sessionName}`,
    sourceIdentity: sessionName,
    packedPolicySize: 12,
    requestId: "sts-1",
  };
}

function post(body?: string | object, path = CREDENTIALS): request.Test {
  const test = request(api()).post(path).set("authorization", `Bearer ${TOKEN}`).set("user-agent", "rolecall/0.1.0");
  return body === undefined ? test : test.set("content-type", "application/json").send(body);
}

function whoami(): request.Test {
  return request(api()).get(WHOAMI).set("authorization", `Bearer ${TOKEN}`);
}

/** Everything that the API's own description says of an answer. */
async function described(method: "get" | "post", path: string, answer: request.Response): Promise<void> {
  const { body: document } = (await request(api()).get("/api/openapi.json")) as { body: OpenApi };
  const response = document.paths[path]?.[method]?.responses[String(answer.status)];
  const [[mediaType, { schema }] = ["none", { schema: { $ref: "" } }]] = Object.entries(response?.content ?? {});
  expect(answer.headers["content-type"]).toMatch(new RegExp(`^${mediaType.replaceAll("+", "\\+")}(?:;|$)`));
  const named = document.components.schemas[schema.$ref.split("/").at(-1) ?? ""];
  expect(named).toBeDefined();
  expect(z.fromJSONSchema(named as Parameters<typeof z.fromJSONSchema>[0]).safeParse(answer.body)).toMatchObject({
    success: true,
  });
}

interface OpenApi {
  openapi: string;
  paths: Record<string, Record<string, { responses: Record<string, { content: Content }> }>>;
  components: { schemas: Record<string, unknown> };
}
type Content = Record<string, { schema: { $ref: string } }>;

function expectProblem(answer: request.Response, status: number, code: ReasonCode): void {
  const { headers } = answer;
  const body = answer.body as Record<string, unknown>;
  expect({ status: answer.status, code: body["code"] }).toEqual({ status, code });
  expect(headers["content-type"]).toMatch(/^application\/problem\+json/);
  expect(headers["cache-control"]).toBe("no-store");
  expect(body).toMatchObject({
    type: `${BASE}/problems/${code}`,
    status,
    title: expect.any(String) as string,
    detail: expect.any(String) as string,
    requestId: headers["x-request-id"] as string,
  });
}

describe("POST /api/v1/credentials", () => {
  it("gives what a credential_process prints, and what it stands for", async () => {
    const answer = await post({ durationSeconds: 900 }).expect(200);
    expect(answer.body).toEqual({
      Version: 1,
      AccessKeyId: "ASIAEXAMPLE",
      SecretAccessKey: "the secret key",
      SessionToken: "the session token",
      Expiration: "2026-11-22T20:15:00Z",
      sessionArn: ARN,
      tags: { team: "search", "cost-centre": "cc-1042" },
      ledgerSeq: 2,
    });
    expect(answer.headers["cache-control"]).toBe("no-store");
    expect(answer.headers["set-cookie"]).toBeUndefined();
    expect(asked).toEqual([{ durationSeconds: 900, sessionName: "jane@acme.example" }]);
    await described("post", CREDENTIALS, answer);
  });

  it("records who asked, by what and from where, under the request's own ID", async () => {
    const answer = await post();
    expect(ledger.rows.map(({ type }) => type)).toEqual(["credentials.requested", "credentials.issued"]);
    expect(ledger.rows[1]).toMatchObject({
      requestId: answer.headers["x-request-id"] as string,
      client: "rolecall-cli",
      userAgent: "rolecall/0.1.0",
      address: expect.stringContaining("127.0.0.1") as string,
      email: "Jane@acme.example",
      sessionArn: ARN,
    });
  });

  it.each<[name: string, body: string | object | undefined]>([
    ["no body", undefined],
    ["an empty body", ""],
    ["an empty object", {}],
  ])("gives the longest session for %s", async (_name, body) => {
    await post(body).expect(200);
    expect(asked).toEqual([{ durationSeconds: 3600, sessionName: "jane@acme.example" }]);
  });

  it.each(["application/json; charset=utf-8", "APPLICATION/JSON"])("reads %s", async (type) => {
    await post().set("content-type", type).send('{"durationSeconds":900}').expect(200);
  });

  const big = JSON.stringify({ durationSeconds: 900, padding: "x".repeat(5000) });
  const faults: [name: string, ask: () => request.Test, code: ReasonCode][] = [
    ["what is no JSON", () => post("{"), "request_malformed"],
    ["a list", () => post("[]"), "request_malformed"],
    ["a duration as text", () => post({ durationSeconds: "900" }), "request_malformed"],
    ["a duration below AWS's least", () => post({ durationSeconds: 899 }), "duration_out_of_range"],
    ["a duration above the configured one", () => post({ durationSeconds: 3601 }), "duration_out_of_range"],
    ["a role", () => post({ roleArn: "arn:aws:iam::111122223333:role/Admin" }), "request_not_allowed"],
    ["a session name", () => post({ sessionName: "boss@acme.example" }), "request_not_allowed"],
    ["tags", () => post({ tags: { team: "other" } }), "request_not_allowed"],
    ["a query", () => post({}, `${CREDENTIALS}?team=other`), "request_not_allowed"],
    ["a tag in a header", () => post({}).set("x-team", "other"), "request_not_allowed"],
    ["a session name in a header", () => post({}).set("x-amz-role-session-name", "boss"), "request_not_allowed"],
    ["a body of 5 kB", () => post(big), "request_malformed"],
    ["a body of 2 MB", () => post(JSON.stringify({ a: "x".repeat(2_000_000) })), "request_malformed"],
    ["a form", () => post().type("form").send({ durationSeconds: "900" }), "request_malformed"],
    ["text without a type", () => post().set("content-type", "").send("{}"), "request_malformed"],
    [
      "an unknown charset",
      () => post().set("content-type", "application/json; charset=x-evil").send("{}"),
      "request_malformed",
    ],
    ["a compressed body", () => post({}).set("content-encoding", "gzip"), "request_malformed"],
  ];
  it.each(faults)("refuses %s as a 400, which is one row", async (_name, ask, code) => {
    const answer = await ask();
    expectProblem(answer, 400, code);
    await described("post", CREDENTIALS, answer);
    expect(ledger.rows).toHaveLength(1);
    expect(ledger.rows[0]).toMatchObject({
      type: "credentials.denied",
      reason: code,
      outcome: "refused",
      email: "Jane@acme.example",
      requestId: answer.headers["x-request-id"] as string,
    });
    expect(asked).toEqual([]);
  });

  it.each<[address: string, status: number, types: string[]]>([
    [`http://x:99999${CREDENTIALS}`, 200, ["credentials.requested", "credentials.issued"]],
    [`http://x:99999${CREDENTIALS}?team=other`, 400, ["credentials.denied"]],
  ])("reads the address %s, which is no URL, like any other", async (address, status, types) => {
    const server = createServer(api()).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const headers = { authorization: `Bearer ${TOKEN}`, connection: "close" };
    const asking = httpRequest({ port, host: "127.0.0.1", method: "POST", path: address, headers }).end();
    const [answer] = (await once(asking, "response")) as [IncomingMessage];
    answer.resume();
    server.close();
    expect(answer.statusCode).toBe(status);
    expect(ledger.rows.map(({ type }) => type)).toEqual(types);
  });

  it("is logged by its route, without the query", async () => {
    await post({}, `${CREDENTIALS}?team=other`);
    expect(log.lines.map(({ fields }) => fields["route"])).toEqual([CREDENTIALS]);
  });

  it("names the fault in a request, and never its value", async () => {
    const { body } = (await post({ sessionName: "boss@acme.example" })) as { body: { detail: string } };
    expect(body.detail).toContain("the body may hold durationSeconds only");
    expect(JSON.stringify([body, log.lines])).not.toContain("boss");
  });

  it.each<[code: ReasonCode, status: number]>([
    ["tag_missing", 403],
    ["claims_expired", 401],
    ["sts_access_denied", 502],
    ["ledger_unavailable", 503],
    ["store_unavailable", 503],
  ])("answers %s by %i", async (code, status) => {
    over = { issue: () => Promise.reject(new Refusal(code, "for the operators alone")) };
    const answer = await post({});
    expectProblem(answer, status, code);
    await described("post", CREDENTIALS, answer);
    expect(answer.headers["retry-after"]).toBe(status === 503 ? "5" : undefined);
    expect(answer.text).not.toContain("operators");
  });

  it("shows nothing of what nobody expected", async () => {
    over = { issue: () => Promise.reject(new Error("the session token of somebody")) };
    const answer = await post({});
    expectProblem(answer, 500, "internal_error");
    expect(answer.text).not.toContain("somebody");
  });
});

describe("GET /api/v1/whoami", () => {
  it("says who, as what, why, until when, and what the bill will say", async () => {
    const answer = await whoami().expect(200);
    expect(answer.body).toMatchObject({
      email: "Jane@acme.example",
      provider: "okta",
      signedInAt: "2026-11-22T19:58:59Z",
      signInExpires: "2026-11-22T20:58:59Z",
      sessionName: "jane@acme.example",
      sessionArn: ARN,
      tags: { team: "search", "cost-centre": "cc-1042" },
      billing: {
        line_item_iam_principal: ARN,
        tags: { "iamPrincipal/team": "search", "iamPrincipal/cost-centre": "cc-1042" },
      },
    });
    expect((answer.body as { trace: unknown[] }).trace[0]).toEqual({
      tag: "team",
      rule: "from[0]",
      claim: "groups",
      value: "search",
      outcome: "spoke",
    });
    expect(answer.headers["cache-control"]).toBe("no-store");
    await described("get", WHOAMI, answer);
  });

  it("counts the sign-in's own end alone where the provider can be asked again", async () => {
    identity = { ...identity, refreshId: "held" };
    expect((await whoami()).body).toMatchObject({ signInExpires: "2026-11-23T07:58:59Z" });
  });

  it("issues nothing and records nothing", async () => {
    await whoami();
    expect([asked, ledger.rows]).toEqual([[], []]);
  });

  it("says why somebody would be refused, rule by rule", async () => {
    identity = { ...identity, claims: { groups: [], department: null, costCenter: "cc-1042" } };
    const answer = await whoami();
    expectProblem(answer, 403, "tag_missing");
    await described("get", WHOAMI, answer);
    expect((answer.body as { trace: unknown[] }).trace).toContainEqual({
      tag: "team",
      rule: "from[0]",
      claim: "groups",
      outcome: "no match",
    });
  });

  it.each<[code: ReasonCode, status: number]>([
    ["idp_unreachable", 502],
    ["refresh_under_way", 503],
    ["sign_in_revoked", 401],
  ])("answers %s by %i where the provider had to be asked again", async (code, status) => {
    over = { decide: () => Promise.reject(new Refusal(code, "for the operators alone")) };
    const answer = await whoami();
    expectProblem(answer, status, code);
    await described("get", WHOAMI, answer);
  });

  it("asks for another sign-in where this one is too old (RFC 9470)", async () => {
    identity = { ...identity, claimsAt: NOW - 3_601_000 };
    const answer = await whoami();
    expectProblem(answer, 401, "claims_expired");
    expect(answer.headers["www-authenticate"]).toContain('error="insufficient_user_authentication"');
  });
});

describe("the access token", () => {
  const calls: [path: string, call: () => request.Test][] = [
    [CREDENTIALS, () => request(api()).post(CREDENTIALS)],
    [WHOAMI, () => request(api()).get(WHOAMI)],
  ];
  const tokens: [name: string, send: (test: request.Test) => request.Test, error?: string][] = [
    ["none", (test) => test],
    ["an unknown one", (test) => test.set("authorization", "Bearer unknown"), "invalid_token"],
    ["an empty one", (test) => test.set("authorization", "Bearer "), "invalid_token"],
    ["two", (test) => test.set("authorization", `Bearer ${TOKEN} ${TOKEN}`), "invalid_token"],
    ["one with a quote", (test) => test.set("authorization", `Bearer "${TOKEN}"`), "invalid_token"],
    ["another scheme", (test) => test.set("authorization", `Basic ${TOKEN}`), "invalid_token"],
    ["one in the query", (test) => test.query({ access_token: TOKEN })],
    ["one in a cookie", (test) => test.set("cookie", `access_token=${TOKEN}`)],
    ["one in a form", (test) => (test.method === "GET" ? test : test.type("form").send({ access_token: TOKEN }))],
  ];
  describe.each(calls)("%s", (path, call) => {
    it.each(tokens)("refuses %s, and the ledger hears nothing of it", async (_name, send, error) => {
      const answer = await send(call());
      expectProblem(answer, 401, "token_invalid");
      await described(path === WHOAMI ? "get" : "post", path, answer);
      const challenge = error === undefined ? /^Bearer realm="rolecall"$/ : new RegExp(`error="${error}"`);
      expect(answer.headers["www-authenticate"]).toMatch(challenge);
      expect([ledger.rows, asked]).toEqual([[], []]);
      expect(log.lines.map(({ fields }) => fields["code"])).toEqual(["token_invalid"]);
      expect(JSON.stringify(log.lines)).not.toContain(TOKEN);
    });
  });

  it("counts whatever the case of its scheme (RFC 9110, 11.1)", async () => {
    await request(api()).get(WHOAMI).set("authorization", `bearer ${TOKEN}`).expect(200);
  });

  it("without the scope gets nothing, which is one row where credentials were asked for", async () => {
    mayIssue = false;
    for (const answer of [await post({}), await whoami()]) {
      expectProblem(answer, 403, "scope_missing");
      expect(answer.headers["www-authenticate"]).toContain('error="insufficient_scope"');
    }
    expect(ledger.rows).toMatchObject([{ type: "credentials.denied", reason: "scope_missing" }]);
    expect(asked).toEqual([]);
  });

  it("can't be looked up while the store is away: 503, and when to come back", async () => {
    over = {
      authorizationServer: { grantOf: () => Promise.reject(new Refusal("store_unavailable", "redis: timed out")) },
    };
    const answer = await whoami();
    expectProblem(answer, 503, "store_unavailable");
    expect(answer.headers["retry-after"]).toBe("5");
  });
});

describe("the description", () => {
  it("names every route and only those, and no reference leads nowhere", async () => {
    const { body } = (await request(api()).get("/api/openapi.json").expect(200)) as { body: OpenApi };
    expect(body.openapi).toBe("3.1.0");
    const routes = Object.entries(body.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((m) => `${m} ${path}`),
    );
    expect(routes.sort()).toEqual([`get ${WHOAMI}`, `post ${CREDENTIALS}`]);
    const references = [...JSON.stringify(body).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map(
      ([, name]) => name,
    );
    expect([...new Set(references)].sort()).toEqual(Object.keys(body.components.schemas).sort());
  });

  it.each(["/api/v1/nothing", "/api", "/api/v1/credentials/extra"])("%s is a problem too", async (path) => {
    expectProblem(await request(api()).get(path), 404, "not_found");
  });

  it("lets no page of another origin read an answer", async () => {
    const answer = await whoami().set("origin", "https://evil.example");
    expect(answer.headers["access-control-allow-origin"]).toBeUndefined();
  });
});
