import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, type CryptoKey, type JWK } from "jose";
import type { OidcProvider } from "../../src/config/config.ts";
import type { JsonValue } from "../../src/flow/identity.ts";
import { providerConfig } from "./provider-config.ts";

export type Claims = Record<string, JsonValue | undefined>;

export interface SigningKey {
  readonly privateKey: CryptoKey;
  readonly publicJwk: JWK;
}

/** What a test changes about an otherwise correct provider. */
export interface Behavior {
  /** The discovery document. */
  metadata?: (document: Claims) => Claims;
  /** The query of the answer that the browser brings back. */
  callback?: (answer: URLSearchParams) => void;
  /** The ID token's claims; undefined leaves one out. */
  claims?: (claims: Claims) => Claims;
  /** The ID token itself, in place of one that is signed. */
  idToken?: (claims: Claims) => Promise<string> | string;
  /** The token endpoint's answer. */
  tokens?: (tokens: Claims) => Claims;
  jwks?: () => JWK[];
  userinfo?: Claims;
  /** Answers a request in place of the provider; false leaves it to the provider. */
  respond?: (path: string, res: ServerResponse) => boolean;
}

export interface SeenRequest {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: URLSearchParams;
}

/** An identity provider that signs whatever the test says, on this machine; correct where nothing else is said. */
export interface HostileIdp {
  readonly issuer: string;
  readonly provider: OidcProvider;
  /** Requests so far, the browser's among them. */
  readonly seen: SeenRequest[];
  key: SigningKey;
  behavior: Behavior;
  close(): Promise<void>;
}

export const ACCESS_TOKEN = "access-token-of-the-test";

export async function newSigningKey(kid = "key-1", alg = "RS256"): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { privateKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" } };
}

/** A compact JWS over exactly these texts: no library's second thoughts. */
export async function signText(key: SigningKey, payload: string, header: Claims = {}): Promise<string> {
  const { alg = "RS256", kid } = key.publicJwk;
  const signed = [JSON.stringify({ alg, kid, ...header }), payload].map((text) =>
    Buffer.from(text).toString("base64url"),
  );
  const algorithm = alg.startsWith("ES") ? { name: "ECDSA", hash: "SHA-256" } : "RSASSA-PKCS1-v1_5";
  const signature = await crypto.subtle.sign(algorithm, key.privateKey, Buffer.from(signed.join(".")));
  return [...signed, Buffer.from(signature).toString("base64url")].join(".");
}

/** One for all that start in a test file: making an RSA key is slow. */
let firstKey: Promise<SigningKey> | undefined;

export async function startHostileIdp(over: Partial<OidcProvider> = {}, path = ""): Promise<HostileIdp> {
  const nonces = new Map<string, string>();
  const server = createServer((req, res) => void answer(req, res));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const issuer = origin + path;
  const idp: HostileIdp = {
    issuer,
    provider: providerConfig(over.kind ?? "okta", { issuer, ...over }),
    seen: [],
    key: await (firstKey ??= newSigningKey()),
    behavior: {},
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };

  const defaultClaims = (nonce: string | undefined): Claims => {
    const now = Math.floor(Date.now() / 1000);
    return {
      iss: issuer,
      sub: "00u1",
      aud: idp.provider.clientId,
      iat: now,
      exp: now + 300,
      nonce,
      email: "jane@acme.example",
      email_verified: true,
      team: "search",
    };
  };

  const documents: Record<string, (body: URLSearchParams) => unknown> = {
    "/.well-known/openid-configuration": () => {
      const document: Claims = {
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/jwks`,
        userinfo_endpoint: `${issuer}/userinfo`,
        response_types_supported: ["code"],
        id_token_signing_alg_values_supported: ["RS256", "ES256", "HS256", "none"],
      };
      return idp.behavior.metadata?.(document) ?? document;
    },
    "/jwks": () => ({ keys: idp.behavior.jwks?.() ?? [idp.key.publicJwk] }),
    "/token": async (body) => {
      const claims = defaultClaims(nonces.get(body.get("code") ?? ""));
      const changed = idp.behavior.claims?.(claims) ?? claims;
      const idToken = (await idp.behavior.idToken?.(changed)) ?? (await signText(idp.key, JSON.stringify(changed)));
      const tokens = { access_token: ACCESS_TOKEN, token_type: "Bearer", expires_in: 300, id_token: idToken };
      return idp.behavior.tokens?.(tokens) ?? tokens;
    },
    "/userinfo": () => idp.behavior.userinfo,
  };

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url ?? "/", origin);
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const body = new URLSearchParams(Buffer.concat(chunks).toString());
    const local = url.pathname.startsWith(path) ? url.pathname.slice(path.length) : url.pathname;
    idp.seen.push({ path: local, authorization: req.headers.authorization, body });
    if (idp.behavior.respond?.(local, res)) return;
    if (local === "/authorize") {
      res.writeHead(302, { location: authorize(url.searchParams) }).end();
      return;
    }
    const document = await documents[local]?.(body);
    res.writeHead(document === undefined ? 404 : 200, { "content-type": "application/json" });
    res.end(JSON.stringify(document ?? {}));
  }

  function authorize(query: URLSearchParams): string {
    const target = new URL(query.get("redirect_uri") ?? "");
    const code = createHash("sha256").update(query.toString()).digest("base64url");
    nonces.set(code, query.get("nonce") ?? "");
    target.searchParams.set("code", code);
    target.searchParams.set("state", query.get("state") ?? "");
    idp.behavior.callback?.(target.searchParams);
    return target.href;
  }

  return idp;
}
