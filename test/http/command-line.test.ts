import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { OidcProvider } from "../../src/config/config.ts";
import { oidcClient } from "../../src/idp/oidc.ts";
import { loginStates } from "../../src/idp/login-state.ts";
import { ProviderGrants } from "../../src/idp/provider-grants.ts";
import { OidcStrategy } from "../../src/idp/strategy.ts";
import { createAuthorizationServer } from "../../src/oauth/authorization-server.ts";
import type { AuthorizationServer } from "../../src/http/authorization-server.ts";
import { loadPages } from "../../src/http/pages.ts";
import { refusalPage } from "../../src/http/refusals.ts";
import { Browser, type Page } from "../../src/sandbox/browser.ts";
import { startIdentityProvider, type StandInProvider } from "../../src/sandbox/idp.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { loginRequest, signingKeys, type LoginRequest } from "../support/authorization.ts";
import { recordingLog } from "../support/log.ts";
import { RULES, startWeb, webConfig, type Web } from "../support/web.ts";

/** The pages with the real strategy, a real OpenID provider and the real authorization server around them. */
let web: Web;
let idp: StandInProvider;
let authorizationServer: AuthorizationServer;

beforeAll(async () => {
  const store = memoryStore();
  web = await startWeb(async (url) => {
    idp = await startIdentityProvider("okta", { redirectUris: [`${url}/login/okta/callback`] });
    const [base] = webConfig(url).providers;
    if (base?.protocol !== "oidc") throw new Error("no provider");
    const { issuer, clientId, clientSecret } = idp;
    const provider: OidcProvider = {
      ...base,
      issuer,
      clientId,
      clientAuth: { method: "client_secret_basic", secret: clientSecret },
    };
    const options = { redirectUri: `${url}/login/okta/callback`, allowLoopbackHttp: true, now: Date.now };
    const strategy = new OidcStrategy({
      client: oidcClient(provider, options),
      provider,
      loginStates: loginStates(store, Date.now),
      grants: new ProviderGrants(store, { signInMaxAgeSeconds: 43_200, now: Date.now }),
      paths: () => Object.values(RULES).flatMap(({ from }) => from.map(({ claim }) => claim)),
      now: Date.now,
    });
    const keys = { oauth: await signingKeys(), cookieKeys: ["another key of the tests"] };
    authorizationServer = createAuthorizationServer({
      issuer: `${url}/oauth`,
      store,
      keys: () => keys,
      signInMaxAgeSeconds: 43_200,
      onGrantReused: () => Promise.resolve(),
      onTokenRefused: () => Promise.resolve(),
      requireMayGoOn: () => Promise.resolve(),
      limitAccount: () => Promise.resolve(),
      onAccountLimited: () => Promise.resolve(),
      errorPage: refusalPage(loadPages()),
      log: recordingLog(),
    });
    return { config: { providers: [provider] }, parts: { store, strategies: [strategy], authorizationServer } };
  });
});
afterAll(async () => {
  await web.close();
  await idp.close();
});

let browser: Browser;
beforeEach(() => {
  browser = new Browser();
});

/** The command line's end: what the browser is sent back with. */
async function loopback(): Promise<{ redirectUri: string; close: () => void; answer: Promise<URL> }> {
  const answered = Promise.withResolvers<URL>();
  const server = createServer((req, res) => {
    answered.resolve(new URL(req.url ?? "", "http://127.0.0.1"));
    res.end("You can close this window.");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const redirectUri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`;
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { redirectUri, close, answer: answered.promise };
}

function authorizationUrl(request: LoginRequest): string {
  return `${web.url}/oauth/auth?${new URLSearchParams(request.parameters).toString()}`;
}

/** From the choice of providers to whichever page the sign-in ends at. */
async function signInAs(name: string, choice: Page): Promise<Page> {
  const href = /href="(\/login\/okta[^"]*)"/.exec(choice.text)?.[1] ?? "";
  const who = await browser.open(new URL(href, web.url).href);
  const person = idp.people.find((candidate) => candidate.name === name);
  return browser.submit(who, { name: "person", value: person?.subject ?? "" });
}

async function redeem(request: LoginRequest, answer: URL): Promise<{ access_token: string }> {
  const body = new URLSearchParams({
    grant_type: "authorization_code",
    client_id: "rolecall-cli",
    code: answer.searchParams.get("code") ?? "",
    redirect_uri: request.parameters["redirect_uri"] ?? "",
    code_verifier: request.verifier,
  });
  return (await (await fetch(`${web.url}/oauth/token`, { method: "POST", body })).json()) as { access_token: string };
}

describe("rolecall login, in a browser", () => {
  it("signs in by a provider, asks, and gives the command line a grant with the person's Identity", async () => {
    const { redirectUri, answer, close } = await loopback();
    const request = loginRequest({ redirect_uri: redirectUri });
    const choice = await browser.open(authorizationUrl(request));
    expect(choice.text).toContain("The Rolecall command line asks for access.");
    const approval = await signInAs("Jane Doe", choice);
    expect(approval.url.pathname).toMatch(/^\/oauth\/approve\//);
    expect(approval.text).toContain(new URL(redirectUri).host);
    await browser.submit(approval, { name: "decision", value: "approve" });
    const tokens = await redeem(request, await answer);
    const grant = await authorizationServer.grantOf(tokens.access_token);
    expect(grant?.identity).toMatchObject({ email: "jane@acme.example", claims: { costCenter: "cc-1042" } });
    expect(web.rows.map(({ type }) => type)).toEqual(["identity.bound", "login.succeeded"]);

    const whoami = await fetch(`${web.url}/api/v1/whoami`, {
      headers: { authorization: `Bearer ${tokens.access_token}` },
    });
    expect(await whoami.json()).toMatchObject({ email: "jane@acme.example", tags: { team: "search" } });

    const home = await browser.open(web.url);
    await browser.submit(home);
    expect((await browser.open(web.url)).text).toContain("Continue with Okta");
    // The grant outlives the browser's session.
    expect(await authorizationServer.grantOf(tokens.access_token)).toBeDefined();
    close();
  });

  it("asks nobody to sign in twice, tells the command line of a no, and takes no second answer", async () => {
    const { redirectUri, answer, close } = await loopback();
    await signInAs("Jane Doe", await browser.open(web.url));
    const approval = await browser.open(authorizationUrl(loginRequest({ redirect_uri: redirectUri })));
    await browser.submit(approval, { name: "decision", value: "decline" });
    expect((await answer).searchParams.get("error")).toBe("access_denied");
    const again = await browser.submit(approval, { name: "decision", value: "approve" });
    expect(again.status).toBe(400);
    expect(web.rows.filter(({ type }) => type === "credentials.denied")).toMatchObject([
      { reason: "approval_declined" },
      { reason: "approval_unknown" },
    ]);
    close();
  });

  it("shows a refusal of the provider's answer as one page and one event", async () => {
    const rows = web.rows.length;
    const refused = await signInAs("Luis Vega", await browser.open(web.url));
    expect(refused.status).toBe(403);
    expect(refused.text).toContain("Your email address has not been verified.");
    expect(web.rows.slice(rows)).toMatchObject([{ type: "login.denied", reason: "email_unverified" }]);
  });

  it("shows a request that can't be answered as a page, with the request ID, and never redirects it", async () => {
    const request = loginRequest({ redirect_uri: "http://127.0.0.1.evil.example/callback" });
    const answer = await fetch(authorizationUrl(request), { redirect: "manual", headers: { accept: "text/html" } });
    const page = await answer.text();
    expect(answer.status).toBe(400);
    expect(page).toContain("<h1");
    expect(page).toContain(answer.headers.get("x-request-id"));
    expect(answer.headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(web.logged.map(({ level }) => level)).not.toContain("error");
  });

  it("says what is missing to somebody who is let in but would get no tags", async () => {
    const page = await signInAs("Nora Lind", await browser.open(web.url));
    expect(page.text).toContain("You would get no credentials now");
  });
});
