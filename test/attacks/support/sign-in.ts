import type { StandInId } from "../../../src/sandbox/idp.ts";
import { DIRECTORIES, type Person } from "../../../src/sandbox/people.ts";
import { loginRequest, type LoginRequest } from "../../support/authorization.ts";
import { CookieJar } from "../../support/cookie-jar.ts";
import type { Claims } from "../../support/hostile-idp.ts";
import type { Target } from "./target.ts";

/** What the honest directory would say of somebody, by the beginning of their name; `change` is the attack. */
export function claimsOf(id: StandInId, name: string, change: Claims = {}): Claims {
  const people: readonly Person[] = DIRECTORIES[id].people;
  const person = people.find((candidate) => candidate.name.startsWith(name));
  if (person === undefined) throw new Error(`nobody at ${id} is called ${name}`);
  return { sub: person.subject, ...person.claims, ...change };
}

export const JANE = claimsOf("okta", "Jane");
export const PRIYA = claimsOf("entra", "Priya");
export const ANA = claimsOf("auth0", "Ana");

/** The provider says `claims` of whoever signs in from now on. */
export function providerSays(target: Target, id: StandInId, claims: Claims): void {
  const { behavior } = target.idps[id];
  behavior.claims = (standard) => ({ ...standard, ...claims });
  // Nothing more is told there.
  behavior.userinfo = { sub: claims["sub"] };
}

/** Begins a sign-in in `jar`: the address that the provider sends the browser back to, which nobody has opened yet. */
export async function answerOf(target: Target, jar: CookieJar, id: StandInId, next = "/"): Promise<URL> {
  const begun = await jar.get(`/login/${id}?next=${encodeURIComponent(next)}`);
  const back = await fetch(located(begun, target), { redirect: "manual" });
  return located(back, target);
}

export interface SignedIn {
  readonly jar: CookieJar;
  /** The callback's answer. */
  readonly answer: Response;
}

/** One sign-in, in a browser of its own unless one is given, where the provider says `claims`. */
export async function signIn(
  target: Target,
  id: StandInId,
  claims: Claims,
  { jar = new CookieJar(target.url), next = "/" } = {},
): Promise<SignedIn> {
  providerSays(target, id, claims);
  const { pathname, search } = await answerOf(target, jar, id, next);
  return { jar, answer: await jar.get(pathname + search) };
}

export interface Code {
  readonly request: LoginRequest;
  readonly code: string;
}

/** `rolecall login` of a person, up to the code that comes to the loopback address. */
export async function codeFor(
  target: Target,
  id: StandInId,
  claims: Claims,
  over: Record<string, string | undefined> = {},
): Promise<Code> {
  const { jar } = await signIn(target, id, claims);
  return codeIn(target, jar, over);
}

/** The same, once somebody is signed in there. */
export async function codeIn(
  target: Target,
  jar: CookieJar,
  over: Record<string, string | undefined> = {},
): Promise<Code> {
  const request = loginRequest(over);
  const asked = await jar.get(`/oauth/auth?${new URLSearchParams(request.parameters).toString()}`);
  const resume = await jar.post(located(asked, target).href, { decision: "approve" });
  const back = located(await jar.get(located(resume, target).href), target);
  return { request, code: back.searchParams.get("code") ?? "none" };
}

export interface TokenAnswer {
  readonly status: number;
  readonly requestId: string | null;
  readonly body: Readonly<Record<string, string>>;
}

export async function tokenRequest(
  { url }: { readonly url: string },
  fields: Record<string, string>,
): Promise<TokenAnswer> {
  const body = new URLSearchParams({ client_id: "rolecall-cli", ...fields });
  const answer = await fetch(`${url}/oauth/token`, { method: "POST", body, headers: { "user-agent": "thief/1" } });
  const told = (await answer.json()) as Record<string, string>;
  return { status: answer.status, requestId: answer.headers.get("x-request-id"), body: told };
}

export function redeem(
  target: Target,
  { code, request }: Code,
  change: Record<string, string> = {},
): Promise<TokenAnswer> {
  return tokenRequest(target, {
    grant_type: "authorization_code",
    code,
    code_verifier: request.verifier,
    redirect_uri: request.parameters["redirect_uri"] ?? "",
    ...change,
  });
}

export function refresh(
  at: { readonly url: string },
  refreshToken = "",
  more: Record<string, string> = {},
): Promise<TokenAnswer> {
  return tokenRequest(at, { grant_type: "refresh_token", refresh_token: refreshToken, ...more });
}

/** A person's access token. */
export async function accessToken(target: Target, id: StandInId, claims: Claims): Promise<string> {
  const { jar } = await signIn(target, id, claims);
  return accessTokenIn(target, jar);
}

/** The same, once they are signed in there. */
export async function accessTokenIn(target: Target, jar: CookieJar): Promise<string> {
  const { body } = await redeem(target, await codeIn(target, jar));
  const { access_token: access } = body;
  if (access === undefined) throw new Error(`no token: ${JSON.stringify(body)}`);
  return access;
}

/** What the API answers. */
export interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** `POST /api/v1/credentials`; `path` and `init` are the attack. */
export async function credentials(
  { url }: { readonly url: string },
  access: string,
  init: { path?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const { path = "/api/v1/credentials", headers, body } = init;
  const answer = await fetch(url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${access}`, ...headers },
    ...(body !== undefined && { body }),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

/** Where an answer sends the browser. */
export function located(answer: Response, target: { readonly url: string }): URL {
  return new URL(answer.headers.get("location") ?? "none:", target.url);
}
