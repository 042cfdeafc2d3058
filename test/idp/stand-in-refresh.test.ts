import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ReasonCode } from "../../src/flow/errors.ts";
import { Refusal } from "../../src/flow/errors.ts";
import { oidcClient, type OidcClient, type SignInAnswer } from "../../src/idp/oidc.ts";
import { Browser } from "../../src/sandbox/browser.ts";
import { startIdentityProvider, type StandInId, type StandInProvider } from "../../src/sandbox/idp.ts";
import { providerConfig } from "../support/provider-config.ts";

/** The stand-ins give refresh tokens as the real ones do. */

const SCOPES = ["openid", "email", "profile", "offline_access"];
let landing: Server;
let redirectUri: string;

beforeAll(async () => {
  landing = createServer((_req, res) => res.end("back")).listen(0, "127.0.0.1");
  await once(landing, "listening");
  redirectUri = `http://127.0.0.1:${(landing.address() as AddressInfo).port}/callback`;
});
afterAll(async () => {
  landing.close();
  landing.closeAllConnections();
  await once(landing, "close");
});

describe.each<StandInId>(["okta", "entra", "auth0"])("%s", (id) => {
  let idp: StandInProvider;
  let client: OidcClient;
  const clientOf = (scopes: readonly string[]): OidcClient => {
    const { kind, issuer, clientId, clientAuth: method, clientSecret: secret } = idp;
    if (method === "private_key_jwt") throw new Error("the test has no key");
    const config = providerConfig(kind, { issuer, clientId, clientAuth: { method, secret }, scopes });
    return oidcClient(config, { redirectUri, allowLoopbackHttp: true, now: Date.now });
  };
  beforeAll(async () => {
    idp = await startIdentityProvider(id, { redirectUris: [redirectUri] });
    client = clientOf(SCOPES);
  });
  afterAll(() => idp.close());

  const signIn = async (person = idp.people[0], by = client): Promise<SignInAnswer> => {
    const { url, pending } = await by.begin();
    const browser = new Browser();
    const page = await browser.open(url);
    const back = await browser.submit(page, { name: "person", value: person?.subject ?? "" });
    return by.finish(back.url.searchParams, pending, []);
  };

  /** Refreshes by `token`, or by the sign-in's own: the next token, and the claims. */
  const refresh = async (answer: SignInAnswer, token?: string): Promise<{ next: string; claims: object }> => {
    if (!answer.grant) throw new Error("no refresh token was given");
    let next = "";
    const grant = { ...answer.grant, ...(token !== undefined && { refreshToken: token }) };
    const claims = await client.refresh(grant, [], (rotated) => {
      next = rotated;
      return Promise.resolve();
    });
    return { next, claims };
  };

  const codeOf = async (work: Promise<unknown>): Promise<ReasonCode | undefined> => {
    const error: unknown = await work.catch((reason: unknown) => reason);
    return error instanceof Refusal ? error.code : undefined;
  };

  test("gives none where offline_access is not asked for", async () => {
    expect((await signIn(undefined, clientOf(SCOPES.slice(0, 3)))).grant).toBeUndefined();
  });

  test("gives a new one at each use; an old one used again ends them all", async () => {
    const answer = await signIn();
    const { next } = await refresh(answer);
    const { next: third } = await refresh(answer, next);
    expect(new Set([answer.grant?.refreshToken, next, third]).size).toBe(3);
    expect(await codeOf(refresh(answer, next))).toBe("sign_in_revoked");
    expect(await codeOf(refresh(answer, third))).toBe("sign_in_revoked");
  });

  test("tells the claims of now", async () => {
    const answer = await signIn();
    idp.staff.change(idp.people[0]?.subject ?? "", { name: "Renamed" });
    expect((await refresh(answer)).claims).toMatchObject({ name: "Renamed", email: idp.people[0]?.email });
  });

  test("ends those of somebody who is disabled, and lets them in no more", async () => {
    const person = idp.people[1];
    const answer = await signIn(person);
    idp.staff.disable(person?.subject ?? "");
    expect(await codeOf(refresh(answer))).toBe("sign_in_revoked");
    expect(await codeOf(signIn(person))).toBe("idp_denied");
    idp.staff.enable(person?.subject ?? "");
    expect((await signIn(person)).grant).toBeDefined();
  });

  test("is down: the token is as good as before when it is back", async () => {
    const answer = await signIn();
    idp.state.down = true;
    expect(await codeOf(refresh(answer))).toBe("idp_unreachable");
    idp.state.down = false;
    expect((await refresh(answer)).claims).toMatchObject({ email: idp.people[0]?.email });
  });
});
