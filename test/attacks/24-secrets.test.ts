import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loginRequest } from "../support/authorization.ts";
import { serveBroker, type BrokerProcess } from "../support/balanced.ts";
import { CookieJar } from "../support/cookie-jar.ts";
import { ACCESS_TOKEN, signText } from "../support/hostile-idp.ts";
import {
  answerOf,
  codeFor,
  credentials,
  JANE,
  located,
  PRIYA,
  providerSays,
  redeem,
  refresh,
} from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/**
 * Threat 24: no client secret, cookie, token, code or AWS secret key in any log line, error, metric, ledger row or
 * page. A noisy run with everything that goes right and much that goes wrong, by the real program; then a search.
 */

let target: Target;
let program: BrokerProcess | undefined;
/** What was in play, by what it is. */
const secrets = new Map<string, string>();
/** Every answer to a browser or a program that must hold none of it, with its headers but the cookies and redirects. */
const answers: string[] = [];
/** All that lay in Redis before it was stopped. */
let dumped: ReadonlyMap<string, string>;
/** Where each may be seen all the same: the one answer that hands it over is not kept. */
let seen: Readonly<Record<string, string>>;

beforeAll(async () => {
  target = await startTarget({
    start: async (_config, _log, configFile) => {
      const started = await serveBroker(configFile);
      program = started;
      return { close: () => started.stop().then(() => undefined) };
    },
  });
  await noisyRun();
  seen = {
    log: JSON.stringify(program?.logged),
    metrics: await (await fetch(`${target.url}/metrics`)).text(),
    ledger: JSON.stringify(await target.rows()) + tablesOf(join(target.folder, "ledger.db")),
    answers: answers.join("\n"),
    "redis keys": [...dumped.keys()].join("\n"),
    "redis values": [...dumped.values()]
      .flatMap((value) => [value, Buffer.from(value.slice(3), "base64url").toString("latin1")])
      .join("\n"),
  };
});
afterAll(() => target.close());

/** Everything that the database holds, in whatever table. */
function tablesOf(file: string): string {
  const db = new DatabaseSync(file, { readOnly: true });
  const tables = db.prepare("select name from sqlite_master where type = 'table'").all();
  const rows = tables.flatMap(({ name }) => db.prepare(`select * from "${name as string}"`).all());
  db.close();
  return JSON.stringify(rows);
}

function keep(name: string, value: string | null | undefined): void {
  if (value === null || value === undefined || value.length < 8)
    throw new Error(`no ${name} in play: ${String(value)}`);
  secrets.set(`${name} ${secrets.size}`, value);
}

/** A browser whose cookies are all secrets, and whose pages are all looked at. */
class WatchedJar extends CookieJar {
  override get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return this.#watch(super.get(path, headers));
  }
  override post(...args: Parameters<CookieJar["post"]>): Promise<Response> {
    return this.#watch(super.post(...args));
  }
  async #watch(answering: Promise<Response>): Promise<Response> {
    const answer = await answering;
    for (const line of answer.headers.getSetCookie()) {
      const [pair = ""] = line.split(";");
      const [name = "", value = ""] = pair.split(/=(.*)/s).map(decodeURIComponent);
      // An approval's ID stands in its address as well; the signature beside it is what makes the cookie good.
      if (value.length > 8 && !/-(?:approval|resume)$/.test(name)) keep("cookie", value);
    }
    answers.push(await answer.clone().text());
    return answer;
  }
}

/** Whatever the program answered, and the answer itself. */
async function told<T extends { body: unknown }>(asking: Promise<T>): Promise<T> {
  const answer = await asking;
  answers.push(JSON.stringify(answer.body));
  return answer;
}

async function noisyRun(): Promise<void> {
  const { okta, entra } = target.idps;
  okta.behavior.tokens = (tokens) => ({ ...tokens, refresh_token: "refresh-token-of-the-idp" });
  okta.behavior.idToken = async (claims) => {
    const idToken = await signText(okta.key, JSON.stringify(claims));
    keep("ID token of the IdP", idToken);
    return idToken;
  };
  keep("access token of the IdP", ACCESS_TOKEN);
  keep("refresh token of the IdP", "refresh-token-of-the-idp");
  await browse();
  await useTokens();
  await breakParts();
  for (const { body, authorization } of [...okta.seen, ...entra.seen]) {
    if (body.has("code_verifier")) keep("verifier for the IdP", body.get("code_verifier"));
    if (body.has("code")) keep("code of the IdP", body.get("code"));
    if (authorization?.startsWith("Basic ")) {
      keep("client authentication", authorization.slice(6));
      const [, secret = ""] = Buffer.from(authorization.slice(6), "base64").toString().split(":");
      keep("client secret, encoded", secret);
      keep("client secret", decodeURIComponent(secret.replaceAll("+", " ")));
    }
  }
  for (const file of await readdir(target.folder)) {
    if (!/keys\.json$/.test(file)) continue;
    keepStrings(JSON.parse(await readFile(join(target.folder, file), "utf8")));
  }
}

/** Sign-ins that go through, are refused, are replayed; pages that are there and are not. */
async function browse(): Promise<void> {
  providerSays(target, "okta", JANE);
  const jar = new WatchedJar(target.url);
  const answer = await answerOf(target, jar, "okta");
  for (const name of ["state", "code"]) keep(`${name} of a sign-in`, answer.searchParams.get(name));
  await new WatchedJar(target.url).get(answer.href);
  await jar.get(answer.href);
  await jar.get(answer.href);
  for (const path of ["/", "/nothing", "/audit", "/login/nobody", "/problems/email_taken", "/readyz", "/healthz"])
    await jar.get(path);
  await jar.get(
    `/nothing/${answer.searchParams.get("code") ?? ""}?code=${answer.searchParams.get("code") ?? ""}`.slice(0, 9),
  );
  const wrong = await answerOf(target, jar, "okta");
  keep("code of a refused sign-in", wrong.searchParams.get("code"));
  wrong.searchParams.set("iss", "https://evil.example");
  await jar.get(wrong.href);
  providerSays(target, "entra", { ...PRIYA, acct: 1 });
  await jar.get((await answerOf(target, jar, "entra")).href);
  const asked = await jar.get(`/oauth/auth?${new URLSearchParams(loginRequest().parameters).toString()}`);
  await jar.get(located(asked, target).href);
  await jar.post(located(asked, target).href, { decision: "decline" });
  await jar.post("/logout");
}

/** The command line's codes and tokens: used, used again, stolen, ended; and credentials. */
async function useTokens(): Promise<void> {
  const code = await codeFor(target, "okta", JANE);
  keep("code", code.code);
  keep("verifier", code.request.verifier);
  await told(redeem(target, code, { code_verifier: "x".repeat(43) }));
  const first = await redeem(target, code);
  const second = await refresh(target, first.body["refresh_token"]);
  for (const { body } of [first, second]) {
    for (const name of ["access_token", "refresh_token", "id_token"]) keep(name, body[name]);
  }
  const access = second.body["access_token"] ?? "";
  const issued = await credentials(target, access);
  for (const name of ["SecretAccessKey", "SessionToken"]) keep(name, issued.body[name] as string);
  await told(credentials(target, access, { path: `/api/v1/credentials?token=${access}` }));
  await told(
    credentials(target, access, { body: `{"${access}": 1}`, headers: { "content-type": "application/json" } }),
  );
  await told(credentials(target, access, { headers: { "x-team": access } }));
  await told(credentials(target, `${access}x`));
  await told(credentials(target, second.body["refresh_token"] ?? ""));
  await told(refresh(target, first.body["refresh_token"]));
  await told(redeem(target, code));
  await told(refresh(target, second.body["refresh_token"]));
}

/** Each part fails once with a secret in its hands. */
async function breakParts(): Promise<void> {
  const { okta } = target.idps;
  const { body } = await redeem(target, await codeFor(target, "okta", JANE));
  const access = body["access_token"] ?? "";
  keep("access token before a fault", access);
  target.aws.fail(
    { kind: "error", wireCode: "AccessDenied", status: 403 },
    { kind: "answer", status: 200, body: "<html/>" },
  );
  await told(credentials(target, access));
  await told(credentials(target, access));
  for (const status of [401, 503]) {
    const jar = new WatchedJar(target.url);
    const answer = await answerOf(target, jar, "okta");
    keep("code that the IdP refused", answer.searchParams.get("code"));
    okta.behavior.respond = (path, res) =>
      path === "/token" &&
      Boolean(
        res
          .writeHead(status, { "content-type": "application/json" })
          .end(`{"error":"invalid_client","error_description":"${answer.searchParams.get("code") ?? ""}"}`),
      );
    await jar.get(answer.href);
    delete okta.behavior.respond;
  }
  dumped = await target.redis.dump();
  await target.redis.stop();
  await told(credentials(target, access));
  await told(refresh(target, body["refresh_token"]));
  await target.redis.start();
}

/** Keys of the broker: whatever is longer than a name. */
function keepStrings(value: unknown): void {
  if (typeof value === "string" && /PRIVATE KEY/.test(value)) {
    for (const line of value.split("\n").filter((text) => text.length > 30 && !text.startsWith("-")))
      keep("private key", line);
  } else if (Array.isArray(value)) value.forEach(keepStrings);
  else if (typeof value === "object" && value !== null) {
    for (const [name, inner] of Object.entries(value)) {
      if (typeof inner === "string" && ["d", "p", "q", "secret"].includes(name)) keep(name, inner);
      else keepStrings(inner);
    }
  }
}

test("there was a noisy run: enough was in play, and every place holds something", () => {
  const kinds = new Set([...secrets.keys()].map((name) => name.replace(/ \d+$/, "")));
  expect([...kinds]).toEqual(
    expect.arrayContaining([
      "cookie",
      "code",
      "verifier",
      "access_token",
      "SecretAccessKey",
      "SessionToken",
      "client secret",
      "private key",
      "secret",
    ]),
  );
  for (const [place, text] of Object.entries(seen)) expect(text.length, place).toBeGreaterThan(500);
  for (const said of ["login_other_browser", "sts_access_denied", "redis can't be reached"])
    expect(seen["log"]).toContain(said);
  for (const row of ["grant.reused", "credentials.failed", "login.denied", "credentials.issued"])
    expect(seen["ledger"]).toContain(row);
});

test.for(["log", "metrics", "ledger", "answers", "redis keys", "redis values"])("no secret is in: %s", (place) => {
  const text = seen[place] ?? "";
  const found = [...secrets].filter(([, secret]) => text.includes(secret) || text.includes(encodeURIComponent(secret)));
  expect(found.map(([name]) => name)).toEqual([]);
  // Nor any other federation token, private key or key of AWS.
  expect(text).not.toMatch(/eyJ[\w-]{10,}\.[\w-]{10,}\.|-----BEGIN [A-Z ]*PRIVATE|SecretAccessKey":"/);
});

test("the same search finds what is meant to be there", () => {
  expect(seen["ledger"]).toContain("jane@acme.example");
  expect(seen["answers"]).toContain("jane@acme.example");
  expect(seen["metrics"]).toContain("rolecall_refusals_total");
});
