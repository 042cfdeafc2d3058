import express from "express";
import type { Strategy } from "passport";
import type { Config } from "../config/config.ts";
import { Refusal, REASONS, type ReasonCode } from "../flow/errors.ts";
import type { Identity } from "../flow/identity.ts";
import type { IssuedCredentials, IssueRequest } from "../flow/issue.ts";
import type { KeyValueStore, LedgerPort, Log } from "../flow/ports.ts";
import type { RateLimits } from "../flow/rate-limit.ts";
import { apiRouter } from "./api.ts";
import { answerApproval, askApproval } from "./approval.ts";
import { requireModestRequest } from "./authorization-request.ts";
import type { AuthorizationServer } from "./authorization-server.ts";
import { securityHeaders } from "./guard.ts";
import { healthz, readyz } from "./health.ts";
import { home } from "./home.ts";
import { limitAddress, limitBeginning } from "./limits.ts";
import { exposeMetrics } from "./metrics.ts";
import { loadPages, TEMPLATES } from "./pages.ts";
import { showOAuthError } from "./problem.ts";
import { notFound, showRefusal } from "./refusals.ts";
import { followRequests, type WebMetrics, type WebTraces } from "./requests.ts";
import { readSamlForm, refuseSamlInQuery, samlLogout, samlMetadata, type SamlProviderPorts } from "./saml.ts";
import { browserSessions } from "./sessions.ts";
import { beginSignIn, finishSignIn, providersAsPassport, signOut } from "./sign-in.ts";
import type { Decide } from "./standing.ts";

/** All that the web side needs from the rest of the broker. */
export interface HttpParts {
  readonly config: Config;
  /** Seals what it keeps: sessions are readable to whoever reads it. */
  readonly store: KeyValueStore;
  readonly ledger: LedgerPort & { state(): Promise<{ writable: boolean }> };
  /** One a provider, named by the provider's ID. */
  readonly strategies: readonly Strategy[];
  /** What SAML providers have besides, by their IDs. */
  readonly saml: ReadonlyMap<string, SamlProviderPorts>;
  /** Whether a provider has ended the sign-in of a session since it began. */
  readonly hasEnded: (identity: Identity) => Promise<boolean>;
  readonly authorizationServer: AuthorizationServer;
  readonly decide: Decide;
  readonly issue: (request: IssueRequest) => Promise<IssuedCredentials>;
  /** What AWS reads at `BASE/federation`, as it is now. */
  readonly documents: () => { readonly discovery: object; readonly jwks: object };
  /** XML; undefined: AWS does not know the broker by SAML. */
  readonly samlMetadata?: (() => string) | undefined;
  /** Told to stop: still serves, and wants nobody new. */
  readonly isStopping: () => boolean;
  /** Sign the session cookie: the first one new ones, all of them old ones. The same list until they change. */
  readonly cookieKeys: () => readonly string[];
  readonly limits: RateLimits;
  readonly metrics: WebMetrics;
  readonly traces: WebTraces;
  readonly log: Log;
  /** Epoch milliseconds; left out: the machine's clock. */
  readonly now?: () => number;
}

/** The broker's web side, ready to listen: every route there is, in the order in which they are tried. */
export function createServer(parts: HttpParts): express.Express {
  const { config, store, authorizationServer, cookieKeys, limits, now = Date.now } = parts;
  const { baseUrl, signInMaxAgeSeconds } = config;
  const sessions = { baseUrl, signInMaxAgeSeconds, cookieKeys, hasEnded: parts.hasEnded, now };
  const pages = loadPages();
  const page = { ...parts, pages, sessions, passport: providersAsPassport(parts.strategies) };
  const session = browserSessions(store, sessions);

  const app = express();
  app.set("trust proxy", config.trustProxy);
  app.use(followRequests(parts), securityHeaders(baseUrl));

  // People, by browser.
  app.get("/", session, home(page));
  const limitAnswers = limitAddress(limits, "sign_in_callback");
  app.get("/login/:provider", limitBeginning(limits, "sign_in"), refuseSamlInQuery, session, beginSignIn(page));
  app.get("/login/:provider/callback", limitAnswers, session, finishSignIn(page, "oidc"));
  app.post("/login/:provider/acs", limitAnswers, readSamlForm, session, finishSignIn(page, "saml"));
  app.post("/login/:provider/slo", limitAnswers, readSamlForm, samlLogout(page));
  app.get("/login/:provider/metadata", samlMetadata(page));
  app.post("/logout", session, signOut(page));
  app.get("/oauth/approve/:uid", session, askApproval(page));
  app.post("/oauth/approve/:uid", session, readForm, answerApproval(page));
  app.get("/problems/:code", (req, res) => {
    res.send(pages.problem(knownReason(req.params.code)));
  });
  app.use("/assets", express.static(new URL("assets", TEMPLATES).pathname, ASSET_OPTIONS));

  // The command line.
  app.all("/oauth/auth", requireModestRequest, limitBeginning(limits, "authorization"));
  app.all(["/oauth/token", "/oauth/token/revocation"], limitAddress(limits, "token"), showOAuthError(parts.log));
  app.use("/oauth", (req, res) => {
    authorizationServer.handle(req, res);
  });
  app.use(apiRouter(page));

  // AWS. It reads changes at once where it is told not to cache.
  app.get(
    "/federation/.well-known/openid-configuration",
    publish(() => parts.documents().discovery),
  );
  app.get(
    "/federation/jwks",
    publish(() => parts.documents().jwks),
  );
  const { samlMetadata: federationMetadata } = parts;
  if (federationMetadata) app.get("/federation/saml/metadata", publishXml(federationMetadata));

  // Operations.
  app.get("/healthz", healthz);
  app.get("/readyz", readyz(parts));
  app.get("/metrics", exposeMetrics(parts.metrics, baseUrl));

  app.use(notFound, showRefusal(pages, parts.log));
  return app;
}

const ASSET_OPTIONS = {
  index: false,
  redirect: false,
  setHeaders: (res: express.Response) => {
    res.set("cache-control", "no-cache");
  },
} as const;

const urlencoded: express.RequestHandler = express.urlencoded({ extended: false, limit: "2kb", parameterLimit: 10 });

/** A form that can't be read is one without fields: its route refuses it, and records that, like any other. */
const readForm: express.RequestHandler = (req, res, next) => {
  urlencoded(req, res, () => {
    next();
  });
};

function publish(document: () => object): express.RequestHandler {
  return (_req, res) => {
    res.set("cache-control", "no-cache").json(document());
  };
}

function publishXml(document: () => string): express.RequestHandler {
  return (_req, res) => {
    res.set("cache-control", "no-cache").type("application/samlmetadata+xml").send(document());
  };
}

function knownReason(code: string): ReasonCode {
  if (!Object.hasOwn(REASONS, code)) throw new Refusal("not_found", "no reason has this code");
  return code as ReasonCode;
}
