import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import express, { type Express, type Request, type RequestHandler, type Response } from "express";
import { exportJWK, generateKeyPair, type JWK } from "jose";
import { Provider, errors, type ClientMetadata, type Configuration, type KoaContextWithOIDC } from "oidc-provider";
import type { OidcProvider } from "../config/config.ts";
import { sendSignInPage } from "./idp-page.ts";
import { IdpRecords } from "./idp-records.ts";
import { Staff } from "./idp-staff.ts";
import { DIRECTORIES, ENTRA_TENANT, type Directory, type Person } from "./people.ts";
import { newSamlIdpKey } from "./saml/key.ts";
import { mountSaml, type StandInSaml } from "./saml/stand-in.ts";

export type StandInId = keyof typeof DIRECTORIES;

type ClientAuth = OidcProvider["clientAuth"]["method"];

/** An identity provider that runs on this machine, and what the broker's configuration must say of it. */
export interface StandInProvider {
  readonly id: StandInId;
  readonly kind: Directory["kind"];
  readonly label: string;
  readonly issuer: string;
  /** Where it listens. */
  readonly port: number;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly clientAuth: ClientAuth;
  readonly emailDomain: string;
  readonly people: readonly Person[];
  /** The same people by SAML, on the same server; undefined: nobody has set it up. */
  readonly saml: StandInSaml | undefined;
  /** What its administrators do while it runs. */
  readonly staff: Staff;
  /** What happens to it: while `down`, every request is answered with 503. */
  readonly state: { down: boolean; /** Times a refresh token was shown to it. */ refreshes: number };
  close(): Promise<void>;
}

export interface StandInOptions {
  /** Exact, as the real ones demand it. */
  readonly redirectUris: readonly string[];
  /** Left out or 0: any that is free. */
  readonly port?: number;
  /** Where it is reached, if something stands in front of it; left out: at its own port. */
  readonly publicPort?: number;
  /** Makes the client a `private_key_jwt` one. */
  readonly clientKey?: JWK;
  /** Sets SAML up, too: where the broker's metadata for this provider is. */
  readonly serviceProviderUrl?: string;
}

/** Where each kind's issuer lies below its origin, slash at the end and all, and how a client proves itself there. */
const SHAPES = {
  okta: { path: "/oauth2/default", clientAuth: "client_secret_basic", clientId: "0oa1b2c3d4e5f6g7h8i9" },
  entra: {
    path: `/${ENTRA_TENANT}/v2.0`,
    clientAuth: "client_secret_post",
    clientId: "b1946ac9-2ad4-4c53-9f0f-5d2e8c7a6b31",
  },
  auth0: { path: "/", clientAuth: "client_secret_post", clientId: "Xq3vT8mK2pLw9ZrY5nBc7dFg1hJs4uVa" },
} as const satisfies Record<StandInId, { path: string; clientAuth: ClientAuth; clientId: string }>;

/** Seconds: longer than any sign-in of ours. */
const REFRESH_LIFE = 14 * 24 * 3600;

/** All three, each a server of its own on `localhost`. Rejects where a port can't be had; those begun are closed. */
export async function startIdentityProviders(
  options: Record<StandInId, StandInOptions>,
): Promise<Record<StandInId, StandInProvider>> {
  const started: StandInProvider[] = [];
  const start = async (id: StandInId): Promise<StandInProvider> => {
    const provider = await startIdentityProvider(id, options[id]);
    started.push(provider);
    return provider;
  };
  try {
    return { okta: await start("okta"), entra: await start("entra"), auth0: await start("auth0") };
  } catch (error) {
    await Promise.all(started.map((provider) => provider.close()));
    throw error;
  }
}

/**
 * A running stand-in with the claims of its kind. It is oidc-provider, so that it checks what the real ones check:
 * exact redirect URI, the client's secret by its one method, PKCE S256, codes that work once. It gives a refresh token
 * for `offline_access`, a new one at each use; one that is used again ends them all. Nobody stays signed in.
 */
export async function startIdentityProvider(id: StandInId, options: StandInOptions): Promise<StandInProvider> {
  const directory: Directory = DIRECTORIES[id];
  const shape = SHAPES[id];
  const app = express();
  const server = createServer(app);
  const port = await listen(server, options.port ?? 0);
  const origin = `http://localhost:${options.publicPort ?? port}`;
  const issuer = `${origin}${shape.path}`;
  const clientSecret = randomBytes(24).toString("base64url");
  const clientAuth = options.clientKey ? "private_key_jwt" : shape.clientAuth;
  const client: ClientMetadata = {
    client_id: shape.clientId,
    redirect_uris: [...options.redirectUris],
    grant_types: ["authorization_code", "refresh_token"],
    token_endpoint_auth_method: clientAuth,
    ...(options.clientKey ? { jwks: { keys: [options.clientKey] } } : { client_secret: clientSecret }),
  };
  const path = shape.path.replace(/\/$/, "");
  const staff = new Staff(directory);
  const state = { down: false, refreshes: 0 };
  const provider = new Provider(issuer, await configuration(path, directory, staff, client));
  const countRefresh = (ctx: KoaContextWithOIDC): void => {
    if (ctx.oidc.params?.["grant_type"] === "refresh_token") state.refreshes += 1;
  };
  provider.on("grant.success", countRefresh);
  provider.on("grant.error", countRefresh);
  app.use((_req, res, next) => {
    if (state.down) res.status(503).end();
    else next();
  });
  const { serviceProviderUrl } = options;
  const saml =
    serviceProviderUrl === undefined
      ? undefined
      : mountSaml(app, { directory, staff, origin, key: await newSamlIdpKey(), serviceProviderUrl });
  mount(app, path, directory, staff, clientAuth, provider);
  const { kind, label, emailDomain, people } = directory;
  const { clientId } = shape;
  return {
    id,
    kind,
    label,
    issuer,
    port,
    clientId,
    clientSecret,
    clientAuth,
    emailDomain,
    people,
    saml,
    staff,
    state,
    close: () => close(server),
  };
}

async function configuration(
  path: string,
  directory: Directory,
  staff: Staff,
  client: ClientMetadata,
): Promise<Configuration> {
  const { privateKey } = await generateKeyPair("RS256", { extractable: true });
  const claimNames = new Set(directory.people.flatMap(({ claims }) => Object.keys(claims)));
  return {
    adapter: new IdpRecords().adapter,
    clients: [client],
    jwks: {
      keys: [{ ...(await exportJWK(privateKey)), kid: randomBytes(8).toString("hex"), alg: "RS256", use: "sig" }],
    },
    cookies: { keys: [randomBytes(16).toString("hex")] },
    claims: { openid: ["sub", ...claimNames], email: null, profile: null },
    // The real ones put the claims into the ID token.
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_ctx, { uid }) => `${path}/interaction/${uid}` },
    rotateRefreshToken: () => true,
    ttl: {
      AccessToken: 300,
      AuthorizationCode: 60,
      Grant: REFRESH_LIFE,
      IdToken: 3600,
      Interaction: 600,
      RefreshToken: REFRESH_LIFE,
      Session: 600,
    },
    findAccount: (_ctx, subject) => {
      const person = staff.active(subject);
      return person && { accountId: subject, claims: () => ({ sub: subject, ...person.claims }) };
    },
    renderError: (ctx, { error }) => {
      ctx.type = "text";
      ctx.body = `this stand-in refuses: ${error}`;
    },
    // The company has agreed for its people.
    loadExistingGrant: async (ctx) => {
      const { session, client: asking, provider } = ctx.oidc;
      if (session?.accountId === undefined || asking === undefined) return undefined;
      const grant = new provider.Grant({ accountId: session.accountId, clientId: asking.clientId });
      grant.addOIDCScope("openid email profile offline_access");
      await grant.save();
      return grant;
    },
  };
}

function mount(
  app: Express,
  path: string,
  directory: Directory,
  staff: Staff,
  clientAuth: ClientAuth,
  provider: Provider,
): void {
  app.use((req, _res, next) => {
    // Nobody stays signed in, so that a second sign-in can be another person's.
    const cookies = req.headers.cookie?.split("; ").filter((cookie) => !cookie.startsWith("_session"));
    if (cookies) req.headers.cookie = cookies.join("; ");
    next();
  });
  const show = interaction(async (req, res) => {
    await provider.interactionDetails(req, res);
    sendSignInPage(res, directory);
  });
  const choose = interaction(async (req, res) => {
    const { person } = req.body as { person?: string };
    const known = staff.active(person);
    const result = known
      ? { login: { accountId: known.subject, remember: false }, consent: {} }
      : { error: "access_denied" };
    await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
  });
  app.get(`${path}/interaction/:uid`, show);
  app.post(`${path}/interaction/:uid`, express.urlencoded({ extended: false }), choose);
  app.get(`${path}/auth`, (req, _res, next) => {
    // oidc-provider forgets offline_access where no consent is asked for; the real ones do not.
    req.url += "&prompt=consent";
    next();
  });
  app.post(`${path}/token`, (req, res, next) => {
    // oidc-provider takes a secret in either place; the real ones take it in the one that is configured.
    const inHeader = req.headers.authorization !== undefined;
    if (inHeader === (clientAuth === "client_secret_basic")) next();
    else res.status(401).json({ error: "invalid_client" });
  });
  app.use(path === "" ? "/" : path, provider.callback());
}

/** A page of a sign-in under way; the back button leads to one that has ended. */
function interaction(handle: (req: Request, res: Response) => Promise<void>): RequestHandler {
  return async (req, res) => {
    try {
      await handle(req, res);
    } catch (error) {
      if (!(error instanceof errors.SessionNotFound)) throw error;
      res.status(400).type("text").send("this sign-in has ended: start again where you came from");
    }
  };
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "localhost", () => {
      resolve((server.address() as AddressInfo).port);
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
    server.closeAllConnections();
  });
}
