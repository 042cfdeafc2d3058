import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Browser, type Page } from "../../src/sandbox/browser.ts";

/** An answer of the API or of the token endpoint. */
export interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Somebody with a browser and a command line, without the processes of either. */
export interface EmployeeSession {
  readonly browser: Browser;
  readonly accessToken: string;
  /** `POST /api/v1/credentials`, at any broker. */
  credentials(broker: string): Promise<Answer>;
  whoami(broker: string): Promise<Answer>;
  /** Another turn at the token endpoint, with the refresh token of the last one. */
  refresh(broker: string): Promise<Answer>;
}

/** What the browser of `subject` shows at the end of a sign-in by `provider`. */
export async function signInByBrowser(
  broker: string,
  provider: string,
  subject: string,
  browser = new Browser(),
): Promise<Page> {
  const choice = await browser.open(`${broker}/login/${provider}`);
  return await browser.submit(choice, { name: "person", value: subject });
}

/** Signs `subject` in, and lets a command line in by that sign-in. */
export async function signIn(broker: string, provider: string, subject: string): Promise<EmployeeSession> {
  const browser = new Browser();
  await signInByBrowser(broker, provider, subject, browser);
  return await letCommandLineIn(broker, browser);
}

/** Lets one more command line in, by the sign-in that `browser` has. */
export async function letCommandLineIn(broker: string, browser: Browser): Promise<EmployeeSession> {
  const listener = createServer((_req, res) => res.end()).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const redirectUri = `http://127.0.0.1:${(listener.address() as AddressInfo).port}/callback`;
  const verifier = randomBytes(32).toString("base64url");
  const query = new URLSearchParams({
    client_id: "rolecall-cli",
    response_type: "code",
    redirect_uri: redirectUri,
    scope: "openid offline_access credentials",
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
  });
  const approval = await browser.open(`${broker}/oauth/auth?${query.toString()}`);
  const back = await browser.submit(approval, { name: "decision", value: "approve" });
  listener.close();
  const code = back.url.searchParams.get("code") ?? "none";
  const fields = { grant_type: "authorization_code", code, code_verifier: verifier, redirect_uri: redirectUri };
  const { status, body } = await token(broker, fields);
  if (status !== 200) throw new Error(`no token: ${JSON.stringify(body)}`);
  const accessToken = String(body["access_token"]);
  let refreshToken = String(body["refresh_token"]);
  const ask = (method: string, url: string): Promise<Answer> =>
    answerOf(fetch(url, { method, headers: { authorization: `Bearer ${accessToken}` } }));
  return {
    browser,
    accessToken,
    credentials: (at) => ask("POST", `${at}/api/v1/credentials`),
    whoami: (at) => ask("GET", `${at}/api/v1/whoami`),
    async refresh(at) {
      const answer = await token(at, { grant_type: "refresh_token", refresh_token: refreshToken });
      if (answer.status === 200) refreshToken = String(answer.body["refresh_token"]);
      return answer;
    },
  };
}

function token(broker: string, fields: Record<string, string>): Promise<Answer> {
  const body = new URLSearchParams({ client_id: "rolecall-cli", ...fields });
  return answerOf(fetch(`${broker}/oauth/token`, { method: "POST", body }));
}

async function answerOf(response: Promise<Response>): Promise<Answer> {
  const { status, ...rest } = await response.then(async (it) => ({ status: it.status, text: await it.text() }));
  return { status, body: JSON.parse(rest.text) as Record<string, unknown> };
}
