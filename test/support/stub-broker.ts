import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Provider } from "oidc-provider";

/** An answer of the stub's API or, for `oauth`, of whatever path it is put on. */
export interface CannedAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Record<string, string>;
}

/**
 * The part of a broker that the command line sees: a real authorization server (oidc-provider, which checks PKCE,
 * redirect addresses, rotation and single use) that says yes for everybody, and a small API behind its access tokens.
 */
export interface StubBroker {
  readonly url: string;
  /** Requests by "METHOD /path", the authorization server's by path too. */
  readonly requests: string[];
  /** Seconds that the next credentials live. */
  lifetimeSeconds: number;
  /** Whether the person approves. */
  approves: boolean;
  /** Answers by path, instead of the stub's own. */
  readonly canned: Map<string, CannedAnswer>;
  count(path: string): number;
  /** Holds the next request for `path`: `arrived` resolves once it is there, `release` lets it go on. */
  hold(path: string): { arrived: Promise<void>; release: () => void };
  /** Nobody listens any more; {@link start} listens again on the same port. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

export async function startStubBroker(options: { accessTokenSeconds?: number } = {}): Promise<StubBroker> {
  const server = createServer();
  const port = await listen(server, 0);
  const url = `http://127.0.0.1:${port}`;
  const provider = authorizationServer(`${url}/oauth`, options.accessTokenSeconds ?? 600);
  const serveOauth = provider.callback();
  const holds = new Map<string, { arrive: () => void; released: Promise<void> }>();

  const stub: StubBroker = {
    url,
    requests: [],
    lifetimeSeconds: 3600,
    approves: true,
    canned: new Map(),
    count: (path) => stub.requests.filter((request) => request.endsWith(` ${path}`)).length,
    hold(path) {
      const arrived = Promise.withResolvers<undefined>();
      const released = Promise.withResolvers<undefined>();
      holds.set(path, {
        arrive: () => {
          arrived.resolve(undefined);
        },
        released: released.promise,
      });
      return {
        arrived: arrived.promise,
        release: () => {
          released.resolve(undefined);
        },
      };
    },
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
    async start() {
      await listen(server, port);
    },
  };

  server.on("request", (req: IncomingMessage, res: ServerResponse) => {
    void answer(req, res).catch((error: unknown) => {
      res.writeHead(500).end(String(error));
    });
  });

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { pathname } = new URL(req.url ?? "", url);
    stub.requests.push(`${req.method ?? ""} ${pathname}`);
    const hold = holds.get(pathname);
    holds.delete(pathname);
    hold?.arrive();
    await hold?.released;
    const canned = stub.canned.get(pathname);
    if (canned !== undefined) sendJson(res, canned);
    else if (pathname.startsWith("/oauth/approve/")) await approve(provider, req, res, stub.approves);
    else if (pathname.startsWith("/oauth/")) mount(req, res, serveOauth);
    else sendJson(res, await callApi(provider, stub, req, pathname));
  }

  return stub;
}

function authorizationServer(issuer: string, accessTokenSeconds: number): Provider {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: "rolecall-cli",
        application_type: "native",
        token_endpoint_auth_method: "none",
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"],
        redirect_uris: ["http://127.0.0.1/callback"],
        id_token_signed_response_alg: "ES256",
      },
    ],
    scopes: ["openid", "offline_access", "credentials"],
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), alg: "ES256", kid: "stub" }] },
    cookies: { keys: ["stub"] },
    pkce: { required: () => true },
    rotateRefreshToken: () => true,
    ttl: {
      AccessToken: accessTokenSeconds,
      RefreshToken: 3600,
      Grant: 3600,
      Session: 3600,
      Interaction: 600,
      IdToken: 600,
      AuthorizationCode: 60,
    },
    findAccount: (_ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    features: { devInteractions: { enabled: false }, revocation: { enabled: true, allowedPolicy: () => true } },
    interactions: { url: (_ctx, interaction) => `/oauth/approve/${interaction.uid}` },
  });
  return provider;
}

async function approve(provider: Provider, req: IncomingMessage, res: ServerResponse, yes: boolean): Promise<void> {
  const { params } = await provider.interactionDetails(req, res);
  if (!yes) {
    const no = { error: "access_denied", error_description: "the person said \u001b[31mno" };
    await provider.interactionFinished(req, res, no);
    return;
  }
  const accountId = "jane";
  const grant = new provider.Grant({ accountId, clientId: String(params["client_id"]) });
  grant.addOIDCScope(String(params["scope"]));
  const grantId = await grant.save();
  await provider.interactionFinished(req, res, { login: { accountId }, consent: { grantId } });
}

function mount(
  req: IncomingMessage & { originalUrl?: string },
  res: ServerResponse,
  serve: (req: IncomingMessage, res: ServerResponse) => unknown,
): void {
  req.originalUrl = req.url ?? "";
  req.url = req.originalUrl.replace(/^\/oauth/, "");
  void serve(req, res);
}

async function callApi(
  provider: Provider,
  stub: StubBroker,
  req: IncomingMessage,
  path: string,
): Promise<CannedAnswer> {
  const token = await provider.AccessToken.find((req.headers.authorization ?? "").replace(/^Bearer /, ""));
  if (token === undefined || !token.isValid)
    return problem(401, "token_invalid", "The access token is missing, expired or revoked.");
  if (path === "/api/v1/credentials" && req.method === "POST") {
    const body = await new Response(req).text();
    if (body !== "{}" && body !== "") return problem(400, "request_not_allowed", "The request names something.");
    const serial = stub.count(path);
    return {
      status: 200,
      body: {
        Version: 1,
        AccessKeyId: `ASIASTUB${serial}`,
        SecretAccessKey: "secret/with+signs",
        SessionToken: "token==",
        Expiration: new Date(Date.now() + stub.lifetimeSeconds * 1000).toISOString(),
        sessionArn: "arn:aws:sts::111122223333:assumed-role/BedrockShared/jane@acme.example",
        tags: { team: "search" },
        ledgerSeq: serial,
      },
    };
  }
  if (path === "/api/v1/whoami" && req.method === "GET") {
    return {
      status: 200,
      body: {
        email: "jane@acme.example",
        provider: "okta",
        signedInAt: "2026-11-22T09:00:00Z",
        signInExpires: "2026-11-22T21:00:00Z",
        sessionName: "jane@acme.example",
        sessionArn: "arn:aws:sts::111122223333:assumed-role/BedrockShared/jane@acme.example",
        tags: { team: "search", "cost-centre": "unallocated" },
        trace: [
          { tag: "team", rule: "from[0]", claim: "groups", outcome: "no claim" },
          { tag: "team", rule: "from[1]", claim: "department", value: "search", outcome: "spoke" },
          { tag: "cost-centre", rule: "default", value: "unallocated", outcome: "spoke" },
        ],
      },
    };
  }
  return problem(404, "not_found", "There is nothing at this address.");
}

/** A refusal as the API words it (RFC 9457). */
export function problem(status: number, code: string, title: string): CannedAnswer {
  const body = { type: `/problems/${code}`, title, status, code, detail: "What to do.", requestId: "req-1" };
  return { status, body, headers: { "content-type": "application/problem+json" } };
}

function sendJson(res: ServerResponse, { status, body, headers }: CannedAnswer): void {
  res.writeHead(status, { "content-type": "application/json", ...headers });
  res.end(typeof body === "string" ? body : JSON.stringify(body));
}

async function listen(server: Server, port: number): Promise<number> {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}
