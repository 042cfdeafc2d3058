import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import express from "express";
import { exportJWK, generateKeyPair, type JWK } from "jose";
import { asRefusal, reason } from "../../src/flow/errors.ts";
import type { Identity } from "../../src/flow/identity.ts";
import type { KeyValueStore } from "../../src/flow/ports.ts";
import type { AuthorizationServer } from "../../src/http/authorization-server.ts";
import { createAuthorizationServer, type AuthorizationServerOptions } from "../../src/oauth/authorization-server.ts";
import type { LiveGrant, ReusedGrant } from "../../src/oauth/grants.ts";
import { recordingLog } from "./log.ts";
import { PathCookies } from "./path-cookies.ts";

export const SIGN_IN_MAX_AGE = 12 * 3600;

/** An authorization server as the broker mounts it, in an Express app of its own on a free port. */
export interface Authorization {
  readonly url: string;
  readonly issuer: string;
  readonly server: AuthorizationServer;
  readonly reused: ReusedGrant[];
  /** Grants whose code or refresh token was brought and refused. */
  readonly refused: LiveGrant[];
  readonly log: ReturnType<typeof recordingLog>;
  /** Who is signed in to the pages of every browser. */
  person: Identity;
  close(): Promise<void>;
}

export function jane(over: Partial<Identity> = {}): Identity {
  return {
    provider: "okta",
    directory: "okta",
    subject: "00u-jane",
    email: "jane@acme.example",
    claims: { groups: ["bedrock-search"] },
    signedInAt: Date.now(),
    claimsAt: Date.now(),
    ...over,
  };
}

export async function startAuthorization(
  store: KeyValueStore,
  over: Partial<AuthorizationServerOptions> = {},
): Promise<Authorization> {
  const http = createServer();
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const log = recordingLog();
  const reused: ReusedGrant[] = [];
  const refused: LiveGrant[] = [];
  const issuer = `${url}/oauth`;
  const keys = { oauth: await signingKeys(), cookieKeys: ["a key of the tests"] };
  const server = createAuthorizationServer({
    issuer,
    store,
    keys: () => keys,
    signInMaxAgeSeconds: SIGN_IN_MAX_AGE,
    onGrantReused: (grant) => {
      reused.push(grant);
      return Promise.resolve();
    },
    onTokenRefused: (grant) => {
      refused.push(grant);
      return Promise.resolve();
    },
    requireMayGoOn: () => Promise.resolve(),
    limitAccount: () => Promise.resolve(),
    onAccountLimited: () => Promise.resolve(),
    log,
    ...over,
  });
  const authorization: Authorization = {
    url,
    issuer,
    server,
    reused,
    refused,
    log,
    person: jane(),
    async close() {
      http.closeAllConnections();
      http.close();
      await once(http, "close");
    },
  };
  http.on("request", pagesAround(authorization) as (req: IncomingMessage, res: ServerResponse) => void);
  return authorization;
}

/** The approval page, bare: what it would show as JSON, and a form of one field. */
function pagesAround(of: Authorization): express.Express {
  const app = express();
  app.get("/oauth/approve/:uid", async (req, res) => {
    res.json((await of.server.pendingApproval(req, res)) ?? null);
  });
  app.post("/oauth/approve/:uid", express.urlencoded(), async (req, res) => {
    const { decision } = req.body as { decision: "approve" | "decline" };
    try {
      res.redirect(
        303,
        await (decision === "approve" ? of.server.approve(req, res, of.person) : of.server.decline(req, res)),
      );
    } catch (error) {
      const { code } = asRefusal(error);
      res.status(reason(code).status).json({ code });
    }
  });
  app.use("/oauth", (req, res) => {
    of.server.handle(req, res);
  });
  return app;
}

let testKeys: Promise<JWK[]> | undefined;

export function signingKeys(): Promise<JWK[]> {
  testKeys ??= generateKeyPair("ES256", { extractable: true }).then(async ({ privateKey }) => [
    { ...(await exportJWK(privateKey)), alg: "ES256", kid: "test", use: "sig" },
  ]);
  return testKeys;
}

/** One `rolecall login`: its PKCE pair, and the parameters that it sends the browser with. */
export interface LoginRequest {
  readonly verifier: string;
  readonly parameters: Readonly<Record<string, string>>;
}

export function loginRequest(over: Record<string, string | undefined> = {}): LoginRequest {
  const verifier = randomBytes(32).toString("base64url");
  const parameters: Record<string, string | undefined> = {
    client_id: "rolecall-cli",
    response_type: "code",
    redirect_uri: "http://127.0.0.1:53682/callback",
    scope: "openid offline_access credentials",
    prompt: "consent",
    state: "state-1",
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
    ...over,
  };
  const sent = Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return { verifier, parameters: Object.fromEntries(sent) };
}

/** Opens the request in `browser`: the answer of the authorization endpoint. */
export function open(of: Authorization, browser: PathCookies, request: LoginRequest): Promise<Response> {
  return browser.get(`${of.issuer}/auth?${new URLSearchParams(request.parameters).toString()}`);
}

/** The address that a redirect goes to. */
export function target(response: Response): URL {
  return new URL(response.headers.get("location") ?? "none:", response.url);
}

/** The whole way in a browser of its own, up to the redirect to the command line. */
export async function approve(
  of: Authorization,
  request = loginRequest(),
  browser = new PathCookies(of.url),
): Promise<URL> {
  const page = target(await open(of, browser, request));
  const resume = target(await browser.post(page.href, { decision: "approve" }));
  return target(await browser.get(resume.href));
}

export interface NewCode {
  readonly code: string;
  /** Redeems it at the token endpoint, with `changes` to the right request; `undefined` leaves a field out. */
  readonly redeem: (changes?: Record<string, string | undefined>) => Promise<Answer>;
}

/** A code that has just been issued. */
export async function newCode(of: Authorization, over: Record<string, string | undefined> = {}): Promise<NewCode> {
  const request = loginRequest(over);
  const code = (await approve(of, request)).searchParams.get("code") ?? "none";
  const redeem = (changes: Record<string, string | undefined> = {}): Promise<Answer> =>
    token(of, {
      grant_type: "authorization_code",
      code,
      redirect_uri: request.parameters["redirect_uri"],
      code_verifier: request.verifier,
      ...changes,
    });
  return { code, redeem };
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Tokens {
  readonly access: string;
  readonly refresh: string;
}

export function tokensOf(answer: Answer): Tokens {
  return { access: String(answer.body["access_token"]), refresh: String(answer.body["refresh_token"]) };
}

export async function signedIn(of: Authorization): Promise<Tokens> {
  return tokensOf(await (await newCode(of)).redeem());
}

export function refresh(of: Authorization, refreshToken: string): Promise<Answer> {
  return token(of, { grant_type: "refresh_token", refresh_token: refreshToken });
}

/** One request to the token endpoint (or another one), by the command line. */
export async function token(
  of: Authorization,
  fields: Record<string, string | undefined>,
  endpoint = "token",
): Promise<Answer> {
  const all: Record<string, string | undefined> = { client_id: "rolecall-cli", ...fields };
  const sent = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const response = await fetch(`${of.issuer}/${endpoint}`, { method: "POST", body: new URLSearchParams(sent) });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : {},
  };
}
