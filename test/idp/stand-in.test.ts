import { createHash, generateKeyPairSync } from "node:crypto";
import { calculateJwkThumbprint, decodeJwt, type JWK } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { OidcProvider } from "../../src/config/config.ts";
import { Browser } from "../../src/sandbox/browser.ts";
import {
  startIdentityProvider,
  startIdentityProviders,
  type StandInId,
  type StandInProvider,
} from "../../src/sandbox/idp.ts";
import { DIRECTORIES, ENTRA_TENANT } from "../../src/sandbox/people.ts";
import { providerConfig } from "../support/provider-config.ts";
import { startSignInApp, type Outcome, type SignInApp } from "../support/sign-in-app.ts";

const IDS = ["okta", "entra", "auth0"] as const;

let app: SignInApp;
let providers: Record<StandInId, StandInProvider>;

beforeAll(async () => {
  app = await startSignInApp({ paths: ["groups", "costCenter", "https://acme.example/team"] });
  const redirectUris = (id: string): { redirectUris: string[] } => ({
    redirectUris: ["wrong-secret", "no-pkce", ""].map((suffix) => `${app.baseUrl}/login/${id}${suffix}/callback`),
  });
  providers = await startIdentityProviders({
    okta: redirectUris("okta"),
    entra: redirectUris("entra"),
    auth0: redirectUris("auth0"),
  });
  for (const id of IDS) app.add(configOf(providers[id]));
});
afterAll(async () => {
  await Promise.all([app.close(), ...IDS.map((id) => providers[id].close())]);
});

function configOf(provider: StandInProvider, over: Partial<OidcProvider> = {}): OidcProvider {
  const { id, kind, issuer, clientId, clientSecret, clientAuth, emailDomain } = provider;
  if (clientAuth === "private_key_jwt") throw new Error("the test brings the key");
  return providerConfig(kind, {
    id,
    issuer,
    clientId,
    clientAuth: { method: clientAuth, secret: clientSecret },
    emailDomains: [emailDomain],
    ...over,
  });
}

async function signIn(id: string, person: string): Promise<Outcome> {
  const browser = new Browser();
  const page = await browser.open(`${app.baseUrl}/login/${id}`);
  const answer = await browser.submit(page, { name: "person", value: person });
  return JSON.parse(answer.text) as Outcome;
}

const EVERYBODY = IDS.flatMap((id) => DIRECTORIES[id].people.map((person) => ({ id, ...person })));
/** Refusals that come after the sign-in, of the mapping. */
const LATER = ["tag_missing"];

describe("the people", () => {
  test.each(EVERYBODY)("$id: $name ($note)", async ({ id, subject, email, refused }) => {
    const outcome = await signIn(id, subject);
    if (refused === undefined || LATER.includes(refused)) {
      expect(outcome.identity).toMatchObject({ provider: id, email });
    } else expect(outcome).toMatchObject({ code: refused, about: { provider: id, email } });
  });

  test("have subjects as their kind of provider makes them", async () => {
    const subjects = IDS.map(
      async (id) => (await signIn(id, DIRECTORIES[id].people[0]?.subject ?? "")).identity?.subject,
    );
    expect(await Promise.all(subjects)).toEqual([
      expect.stringMatching(/^00u\w{20}$/),
      expect.stringMatching(new RegExp(`^${ENTRA_TENANT}/[0-9a-f-]{36}$`)),
      expect.stringMatching(/^auth0\|[0-9a-f]{24}$/),
    ]);
  });

  test("of one browser can take turns: nobody stays signed in", async () => {
    const browser = new Browser();
    for (const { subject, email } of DIRECTORIES.okta.people.slice(0, 2)) {
      const page = await browser.open(`${app.baseUrl}/login/okta`);
      const answer = await browser.submit(page, { name: "person", value: subject });
      expect(JSON.parse(answer.text)).toMatchObject({ identity: { email } });
    }
  });

  test("who go back to a sign-in that has ended are told so", async () => {
    const browser = new Browser();
    const page = await browser.open(`${app.baseUrl}/login/okta`);
    const choice = { name: "person", value: DIRECTORIES.okta.people[0]?.subject ?? "" };
    await browser.submit(page, choice);
    const [again, shown] = [await browser.submit(page, choice), await browser.open(page.url.href)];
    for (const answer of [again, shown]) {
      expect(answer.status).toBe(400);
      expect(answer.text).toBe("this sign-in has ended: start again where you came from");
    }
  });

  test("may cancel", async () => {
    expect(await signIn("okta", "")).toMatchObject({ code: "idp_denied" });
  });
});

describe("a stand-in has the issuer of its kind", () => {
  test.each<[StandInId, RegExp]>([
    ["okta", /^http:\/\/localhost:\d+\/oauth2\/default$/],
    ["entra", new RegExp(`^http://localhost:\\d+/${ENTRA_TENANT}/v2\\.0$`)],
    ["auth0", /^http:\/\/localhost:\d+\/$/],
  ])("%s", (id, issuer) => {
    expect(providers[id].issuer).toMatch(issuer);
  });
});

describe("a stand-in refuses what the real one refuses", () => {
  test.each(IDS)("%s: a wrong secret", async (id) => {
    const { clientAuth } = configOf(providers[id]);
    if (clientAuth.method === "private_key_jwt") throw new Error("expected a secret");
    app.add(configOf(providers[id], { id: `${id}wrong-secret`, clientAuth: { ...clientAuth, secret: "wrong" } }));
    const outcome = await signIn(`${id}wrong-secret`, providers[id].people[0]?.subject ?? "");
    expect(outcome).toMatchObject({ code: "idp_client_rejected" });
  });

  test.each(IDS)("%s: the right secret by another method", async (id) => {
    const method = providers[id].clientAuth === "client_secret_basic" ? "client_secret_post" : "client_secret_basic";
    const clientAuth = { method, secret: providers[id].clientSecret } as const;
    app.add(configOf(providers[id], { id: `${id}wrong-secret`, clientAuth }));
    const outcome = await signIn(`${id}wrong-secret`, providers[id].people[0]?.subject ?? "");
    expect(outcome).toMatchObject({ code: "idp_client_rejected" });
  });

  const authorization = async (id: StandInId, change: (query: URLSearchParams) => void): Promise<Response> => {
    const begun = await fetch(`${app.baseUrl}/login/${id}`, { redirect: "manual" });
    const url = new URL(begun.headers.get("location") ?? "");
    change(url.searchParams);
    return fetch(url, { redirect: "manual" });
  };

  test.each(IDS)("%s: a redirect URI that is not registered to the letter", async (id) => {
    const refused = await authorization(id, (query) => {
      query.set("redirect_uri", `${app.baseUrl}/login/${id}/callback/`);
    });
    expect(refused.status).toBe(400);
  });

  test.each(IDS)("%s: a request without a PKCE challenge", async (id) => {
    const refused = await authorization(id, (query) => {
      query.delete("code_challenge");
      query.delete("code_challenge_method");
    });
    expect(new URL(refused.headers.get("location") ?? "").searchParams.get("error")).toBe("invalid_request");
  });

  test("a code that was used, and a verifier that does not fit", async () => {
    const { issuer, clientId, clientSecret, people } = providers.auth0;
    const verifier = "v".repeat(43);
    const challenge = createHash("sha256").update(verifier).digest("base64url");
    const redirectUri = `${app.baseUrl}/login/auth0/callback`;
    const exchange = async (code: string, codeVerifier: string): Promise<{ id_token?: string; error?: string }> => {
      const body = new URLSearchParams({
        grant_type: "authorization_code",
        client_id: clientId,
        client_secret: clientSecret,
        redirect_uri: redirectUri,
        code,
        code_verifier: codeVerifier,
      });
      return (await (await fetch(`${issuer}token`, { method: "POST", body })).json()) as { id_token?: string };
    };
    const newCode = async (): Promise<string> => {
      const browser = new Browser();
      const query = new URLSearchParams({
        client_id: clientId,
        response_type: "code",
        redirect_uri: redirectUri,
        scope: "openid",
        nonce: "the nonce",
        code_challenge: challenge,
        code_challenge_method: "S256",
      });
      const page = await browser.open(`${issuer}auth?${query.toString()}`);
      const answer = await browser.submit(page, { name: "person", value: people[0]?.subject ?? "" });
      return answer.url.searchParams.get("code") ?? "";
    };
    const code = await newCode();
    const { id_token: idToken = "" } = await exchange(code, verifier);
    expect(decodeJwt(idToken)).toMatchObject({ nonce: "the nonce", aud: clientId, iss: issuer });
    expect(await exchange(code, verifier)).toMatchObject({ error: "invalid_grant" });
    expect(await exchange(await newCode(), "w".repeat(43))).toMatchObject({ error: "invalid_grant" });
  });
});

test("a stand-in takes an assertion by the client's key", async () => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = publicKey.export({ format: "jwk" }) as JWK;
  const clientKey = { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: "ES256", use: "sig" };
  const redirectUris = [`${app.baseUrl}/login/by-key/callback`];
  const provider = await startIdentityProvider("okta", { redirectUris, clientKey });
  try {
    const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const config = configOf({ ...provider, clientAuth: "client_secret_basic" });
    app.add({ ...config, id: "by-key", clientAuth: { method: "private_key_jwt", key } });
    expect(await signIn("by-key", provider.people[0]?.subject ?? "")).toMatchObject({
      identity: { provider: "by-key" },
    });
  } finally {
    await provider.close();
  }
});
