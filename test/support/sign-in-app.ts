import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import express, { type Request, type RequestHandler } from "express";
import passport from "passport";
import type { OidcProvider } from "../../src/config/config.ts";
import type { ReasonCode } from "../../src/flow/errors.ts";
import type { Identity } from "../../src/flow/identity.ts";
import type { KeyValueStore } from "../../src/flow/ports.ts";
import { SignInRefusal } from "../../src/flow/sign-in.ts";
import { loginStates } from "../../src/idp/login-state.ts";
import { oidcClient } from "../../src/idp/oidc.ts";
import { ProviderGrants } from "../../src/idp/provider-grants.ts";
import { OidcStrategy, type SignInOptions } from "../../src/idp/strategy.ts";
import { memoryStore } from "../../src/store/memory.ts";

/** What the app says of a finished sign-in. */
export interface Outcome {
  readonly identity?: Identity;
  readonly next?: string;
  readonly code?: ReasonCode;
  readonly about?: SignInRefusal["about"];
  /** True where the refusal was a SignInRefusal. */
  readonly tied?: boolean;
}

export interface SignInApp {
  readonly baseUrl: string;
  /** Adds a provider's two routes. */
  add(provider: OidcProvider): void;
  close(): Promise<void>;
}

/** The two sign-in routes over real strategies, on a free port; answers JSON in place of pages. */
export async function startSignInApp(
  over: { store?: KeyValueStore; now?: () => number; paths?: string[] } = {},
): Promise<SignInApp> {
  const { store = memoryStore(), now = Date.now, paths = ["groups"] } = over;
  const app = express();
  const server = createServer(app);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const authenticator = new passport.Passport();
  const states = loginStates(store, now);
  const grants = new ProviderGrants(store, { signInMaxAgeSeconds: 12 * 3600, now });

  const authenticate = (req: Request, options: SignInOptions, done: (...answer: unknown[]) => void): RequestHandler =>
    authenticator.authenticate(String(req.params["id"]), options, done) as RequestHandler;

  app.get("/login/:id", (req, res, done) => {
    const { next } = req.query;
    const browser = cookieOf(req) ?? randomBytes(32).toString("base64url");
    res.cookie("login", browser, { httpOnly: true });
    const options: SignInOptions = {
      session: false,
      step: "begin",
      next: typeof next === "string" ? next : "/",
      browser,
    };
    const handler = authenticate(req, options, (error) => res.json(outcomeOf(error)));
    void handler(req, res, done);
  });
  app.get("/login/:id/callback", (req, res, next) => {
    const options: SignInOptions = { session: false, step: "finish", browser: cookieOf(req) };
    const handler = authenticate(req, options, (error, identity, info) =>
      res.json(error ? outcomeOf(error) : { identity, ...(info as { next: string }) }),
    );
    void handler(req, res, next);
  });

  return {
    baseUrl,
    add: (provider) => {
      const redirectUri = `${baseUrl}/login/${provider.id}/callback`;
      const client = oidcClient(provider, { redirectUri, allowLoopbackHttp: true, now });
      authenticator.use(new OidcStrategy({ client, provider, loginStates: states, grants, paths: () => paths, now }));
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

function cookieOf(req: Request): string | undefined {
  return /(?:^|; )login=([^;]*)/.exec(req.headers.cookie ?? "")?.[1];
}

function outcomeOf(error: unknown): Outcome {
  const { code } = error as { code: ReasonCode };
  return error instanceof SignInRefusal
    ? { code, tied: true, ...(error.about && { about: error.about }) }
    : { code, tied: false };
}
