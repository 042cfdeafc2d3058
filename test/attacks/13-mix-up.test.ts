import { afterAll, beforeAll, expect, test } from "vitest";
import { CookieJar } from "../support/cookie-jar.ts";
import { answerOf, JANE, PRIYA, providerSays, signIn } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 13: one provider's answer at another's callback (mix-up, RFC 9700, 4.4). Nobody may be shown the code. */

let target: Target;
beforeAll(async () => {
  target = await startTarget();
  // Before it is read for the first time.
  target.idps.entra.behavior.metadata = (document) => ({
    ...document,
    authorization_response_iss_parameter_supported: true,
  });
  providerSays(target, "okta", JANE);
  providerSays(target, "entra", PRIYA);
});
afterAll(() => target.close());
/** How often any provider was shown a code. */
function codesShown(): number {
  return Object.values(target.idps).flatMap(({ seen }) => seen.filter(({ path }) => path === "/token")).length;
}

/** `change` of what the honest provider sent: refused as `code`, in one row, and the code goes to nobody. */
async function expectMixUp(change: (answer: URL) => void, code = "issuer_mismatch"): Promise<void> {
  const jar = new CookieJar(target.url);
  const answer = await answerOf(target, jar, "okta");
  const honest = answer.href;
  change(answer);
  const shown = codesShown();
  const refused = await target.recorded(() => jar.get(answer.href));
  expect(refused.answer.status).toBe(400);
  expect(refused.rows.map(({ type, reason }) => `${type} ${String(reason)}`)).toEqual([`login.denied ${code}`]);
  expect(refused.rows[0]).toMatchObject({ provider: "okta", client: "browser" });
  expect(jar.cookies.has("rolecall")).toBe(false);
  // It ended there: the same answer is worth nothing at the right place either.
  const again = await target.recorded(() => jar.get(honest));
  expect([again.answer.status, again.rows]).toEqual([400, []]);
  expect(codesShown()).toBe(shown);
  expect((await signIn(target, "okta", JANE)).answer.status).toBe(303);
}

test.for(["auth0", "entra"] as const)("the answer at the callback of %s", (other) =>
  expectMixUp((answer) => {
    answer.pathname = `/login/${other}/callback`;
  }),
);

test("the answer at another's callback, with that one's iss", () =>
  expectMixUp((answer) => {
    answer.pathname = "/login/auth0/callback";
    answer.searchParams.set("iss", target.idps.auth0.issuer);
  }));

test.for<[string, (answer: URL) => void]>([
  [
    "another provider's",
    (it) => {
      it.searchParams.set("iss", target.idps.auth0.issuer);
    },
  ],
  [
    "a stranger's",
    (it) => {
      it.searchParams.set("iss", "https://evil.example");
    },
  ],
  [
    "its own with a slash",
    (it) => {
      it.searchParams.set("iss", `${target.idps.okta.issuer}/`);
    },
  ],
  [
    "its own in capitals",
    (it) => {
      it.searchParams.set("iss", target.idps.okta.issuer.toUpperCase());
    },
  ],
  [
    "an empty one",
    (it) => {
      it.searchParams.set("iss", "");
    },
  ],
  [
    "its own and another",
    (it) => {
      it.searchParams.append("iss", target.idps.okta.issuer);
      it.searchParams.append("iss", target.idps.auth0.issuer);
    },
  ],
])("an iss that is %s", ([, change]) => expectMixUp(change));

test("an error with another provider's iss", () =>
  expectMixUp((answer) => {
    answer.searchParams.delete("code");
    answer.searchParams.set("error", "access_denied");
    answer.searchParams.set("iss", target.idps.auth0.issuer);
  }));

test("no iss, from a provider that promises one; its own is taken (RFC 9207)", async () => {
  const jar = new CookieJar(target.url);
  const [bare, named] = [await answerOf(target, jar, "entra"), await answerOf(target, jar, "entra")];
  const shown = codesShown();
  const { answer, rows } = await target.recorded(() => jar.get(bare.href));
  expect(answer.status).toBe(400);
  expect(rows).toMatchObject([{ type: "login.denied", reason: "issuer_mismatch", provider: "entra" }]);
  expect(codesShown()).toBe(shown);
  named.searchParams.set("iss", target.idps.entra.issuer);
  expect((await jar.get(named.href)).status).toBe(303);
});

test("a code that another person's sign-in was given: the nonce does not fit", async () => {
  const jar = new CookieJar(target.url);
  const stolen = (await answerOf(target, new CookieJar(target.url), "okta")).searchParams.get("code") ?? "";
  const answer = await answerOf(target, jar, "okta");
  answer.searchParams.set("code", stolen);
  const { answer: refused, rows } = await target.recorded(() => jar.get(answer.href));
  expect(refused.status).toBe(502);
  expect(rows).toMatchObject([{ type: "login.denied", reason: "idp_response_invalid", provider: "okta" }]);
});

test("an answer that comes as a form (response_mode=form_post) finds nobody, and goes on as a query", async () => {
  const jar = new CookieJar(target.url);
  const answer = await answerOf(target, jar, "okta");
  const shown = codesShown();
  const { answer: posted, rows } = await target.recorded(() =>
    jar.post(answer.pathname, Object.fromEntries(answer.searchParams), { origin: target.idps.okta.issuer }),
  );
  expect([posted.status, rows]).toEqual([404, []]);
  expect(codesShown()).toBe(shown);
  expect((await jar.get(answer.href)).status).toBe(303);
});

test("an answer that nobody asked for is counted, and stands in no row", async () => {
  const jar = new CookieJar(target.url);
  const counted = await target.counted("login_state_unknown");
  const { answer, rows } = await target.recorded(() => jar.get("/login/okta/callback?code=c&state=made-up"));
  expect([answer.status, rows]).toEqual([400, []]);
  expect(await target.counted("login_state_unknown")).toBe(counted + 1);
});
