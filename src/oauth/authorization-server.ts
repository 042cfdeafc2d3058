import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { JWK } from "jose";
import { Provider, errors, type InteractionResults } from "oidc-provider";
import { Refusal, reason } from "../flow/errors.ts";
import { following } from "../flow/following.ts";
import type { Identity } from "../flow/identity.ts";
import type { KeyValueStore, Log } from "../flow/ports.ts";
import { RateLimited } from "../flow/rate-limit.ts";
import { adapterFactory, findAccess, interactionKey, LONGEST_LIFE } from "./adapter.ts";
import { cookies, fixOrigin, withoutSessionCookie } from "./browser.ts";
import { asInvalidGrant, asOAuthError, renderError, watchFailures, type ErrorPage } from "./failures.ts";
import { Grants, type LiveGrant, type ReusedGrant, type TokenRequest } from "./grants.ts";
import { CREDENTIALS_SCOPE, policy } from "./policy.ts";
import { watchRefusedTokens, type OnTokenRefused, type RefusalsByRequest } from "./refused-tokens.ts";

export interface AuthorizationServerKeys {
  /** Private keys for ID tokens, each with its `alg`; the first signs, all are published. */
  readonly oauth: readonly JWK[];
  /** The first signs cookies, all verify them. */
  readonly cookieKeys: readonly string[];
}

export interface AuthorizationServerOptions {
  /** `BASE/oauth`. */
  readonly issuer: string;
  /** Sealed: what it holds opens sessions. */
  readonly store: KeyValueStore;
  /** The same object until they change: then the server goes on with the new ones, and no grant is lost. */
  readonly keys: () => AuthorizationServerKeys;
  readonly signInMaxAgeSeconds: number;
  /** A code or refresh token was used twice, and its grant was ended; called once for each such grant. */
  readonly onGrantReused: (grant: ReusedGrant, request: TokenRequest | undefined) => Promise<void>;
  /** Somebody brought a live code or refresh token and was refused; called once for each such request. */
  readonly onTokenRefused: OnTokenRefused;
  /** Rejects with the Refusal of a grant that was revoked, or whose person may not go on. */
  readonly requireMayGoOn: (grant: LiveGrant) => Promise<void>;
  /** Rejects with RateLimited where that account (the ID token's `sub`) asks for new tokens too often. */
  readonly limitAccount: (accountId: string) => Promise<void>;
  /** The first such refusal of each minute, to be recorded. */
  readonly onAccountLimited: OnTokenRefused;
  /** The HTML that a browser is shown where a request can't be answered; left out: plain text. */
  readonly errorPage?: ErrorPage;
  readonly log: Log;
}

interface PendingApproval {
  readonly uid: string;
  readonly clientName: string;
  readonly redirectUri: string;
}

interface AuthorizationServer {
  readonly handle: (req: IncomingMessage, res: ServerResponse) => void;
  pendingApproval(req: IncomingMessage, res: ServerResponse): Promise<PendingApproval | undefined>;
  approve(req: IncomingMessage, res: ServerResponse, identity: Identity): Promise<string>;
  decline(req: IncomingMessage, res: ServerResponse): Promise<string>;
  grantOf(accessToken: string): Promise<(LiveGrant & { readonly mayIssue: boolean }) | undefined>;
  isLive(grantId: string): Promise<boolean>;
}

type Interaction = Awaited<ReturnType<Provider["interactionDetails"]>>;

/**
 * The OAuth 2.0 authorization server for the command line, on oidc-provider, to be mounted at the issuer's path (its
 * contract: src/http/authorization-server.ts). Every authorization request goes to `ISSUER/approve/UID`, a page that is
 * not in here: it ends by {@link AuthorizationServer.approve} or decline. No body parser may run before `handle`.
 */
export function createAuthorizationServer(options: AuthorizationServerOptions): AuthorizationServer {
  const { store, log, signInMaxAgeSeconds } = options;
  const onReused = (grant: ReusedGrant): Promise<void> => options.onGrantReused(grant, Provider.ctx);
  const grants = new Grants(store, { longestLifeSeconds: signInMaxAgeSeconds, onReused, log });
  // All that it has to keep lies in the store, so that another one can go on where this one was.
  const running = following(options.keys, (keys) => {
    const provider = createProvider(options, keys, grants);
    return { provider, serve: provider.callback() };
  });
  // What it can't take is told at the start.
  running();

  async function openInteraction(req: IncomingMessage, res: ServerResponse): Promise<Interaction | undefined> {
    try {
      const interaction = await running().provider.interactionDetails(req, res);
      const answered = interaction.result !== undefined;
      return answered || interaction.uid !== approvalUid(req) ? undefined : interaction;
    } catch (error) {
      if (error instanceof errors.SessionNotFound) return undefined;
      throw error;
    }
  }

  /** Of two answers to one request, also at the same moment, exactly one is taken. */
  async function answer(
    req: IncomingMessage,
    res: ServerResponse,
    result: (interaction: Interaction) => Promise<InteractionResults>,
  ): Promise<string> {
    const interaction = await openInteraction(req, res);
    if (interaction === undefined) throw new Refusal("approval_unknown", "no approval is pending in this browser");
    const first = await store.add(`${interactionKey(interaction.uid)}:answered`, "answered", LONGEST_LIFE.interaction);
    if (!first) throw new Refusal("approval_unknown", "the approval was answered already");
    return running().provider.interactionResult(req, res, await result(interaction), {
      mergeWithLastSubmission: false,
    });
  }

  return {
    handle: (req, res) => void running().serve(req, res),

    async pendingApproval(req, res) {
      const interaction = await openInteraction(req, res);
      if (interaction === undefined) return undefined;
      const { client_id: clientId, redirect_uri: redirectUri } = interaction.params;
      const client = await running().provider.Client.find(String(clientId));
      return {
        uid: interaction.uid,
        clientName: client?.clientName ?? String(clientId),
        redirectUri: String(redirectUri),
      };
    },

    async approve(req, res, identity) {
      const ends = Math.floor(identity.signedInAt / 1000) + signInMaxAgeSeconds;
      const secondsLeft = ends - Math.floor(Date.now() / 1000);
      // Before the answer is taken: the person can sign in again and come back to it.
      if (secondsLeft <= 0) throw new Refusal("sign_in_expired", "the sign-in is older than signInMaxAge");
      return answer(req, res, async ({ params }) => {
        const accountId = accountIdOf(identity);
        const clientId = String(params["client_id"]);
        const grant = new (running().provider.Grant)({ accountId, clientId });
        grant.exp = ends;
        grant.addOIDCScope(typeof params["scope"] === "string" ? params["scope"] : "");
        const grantId = await grant.save();
        await grants.keepSubject(grantId, { clientId, identity }, secondsLeft);
        const ts = ends - signInMaxAgeSeconds;
        return { login: { accountId, ts, remember: false }, consent: { grantId } };
      });
    },

    decline: (req, res) =>
      answer(req, res, () =>
        Promise.resolve({ error: "access_denied", error_description: reason("approval_declined").sentence }),
      ),

    async grantOf(accessToken) {
      const access = await findAccess(store, grants, accessToken);
      return access && { ...access.grant, mayIssue: access.scopes.has(CREDENTIALS_SCOPE) };
    },

    isLive: async (grantId) => (await grants.liveGrant(grantId)) !== undefined,
  };
}

function createProvider(
  options: AuthorizationServerOptions,
  { oauth, cookieKeys }: AuthorizationServerKeys,
  grants: Grants,
): Provider {
  const { issuer, store, signInMaxAgeSeconds, log } = options;
  const signingAlgorithm = oauth[0]?.alg === "RS256" ? "RS256" : "ES256";
  const path = new URL(issuer).pathname;
  const refusals: RefusalsByRequest = new WeakMap();
  const provider = new Provider(issuer, {
    ...policy({ grants, signingAlgorithm, signInMaxAgeSeconds, admit: admission(options, grants, refusals) }),
    adapter: adapterFactory(store, grants),
    jwks: { keys: [...oauth] },
    cookies: cookies(issuer, cookieKeys),
    interactions: { url: (_ctx, interaction) => `${path}/approve/${interaction.uid}` },
    renderError: renderError(options.errorPage),
  });
  fixOrigin(provider, issuer);
  withoutSessionCookie(provider);
  watchFailures(provider, log);
  watchRefusedTokens(provider, grants, refusals, options);
  return provider;
}

/** Keeps an account within its limit at the token endpoint, and out once it is revoked (its contract: policy.ts). */
function admission(
  options: AuthorizationServerOptions,
  grants: Grants,
  refusals: RefusalsByRequest,
): Parameters<typeof policy>[0]["admit"] {
  return async (ctx, accountId, { kind, grantId }) => {
    try {
      if (kind === "RefreshToken") await options.limitAccount(accountId);
      const grant = await grants.liveGrant(grantId);
      // One that has ended is refused by what looks it up next.
      if (grant !== undefined) await options.requireMayGoOn(grant);
    } catch (error) {
      if (error instanceof RateLimited) {
        const grant = error.first ? await grants.liveGrant(grantId) : undefined;
        if (grant !== undefined) await options.onAccountLimited(grant, ctx, error.code);
        throw asOAuthError(ctx, error);
      }
      if (!(error instanceof Refusal) || reason(error.code).status >= 500) throw error;
      refusals.set(ctx, error.code);
      throw asInvalidGrant(error);
    }
  };
}

/** The approval that the address names: `/oauth/approve/UID`. */
function approvalUid(req: IncomingMessage & { originalUrl?: string }): string | undefined {
  return /\/approve\/([\w-]+)/.exec(req.originalUrl ?? req.url ?? "")?.[1];
}

/** `sub` of the ID token: opaque, and one for each (directory, subject). */
function accountIdOf(identity: Identity): string {
  const hash = createHash("sha256");
  // A length before each part keeps ("a", "bc") and ("ab", "c") apart.
  for (const part of [identity.directory, identity.subject]) hash.update(`${Buffer.byteLength(part)}:${part}`);
  return hash.digest("base64url");
}
