import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { signedResponse } from "../../src/sandbox/saml/sign.ts";
import { CookieJar } from "../support/cookie-jar.ts";
import { ENTITIES, samlAnswer, samlIdps, saysBySaml, type SamlIdps } from "./support/saml.ts";
import { ANA, answerOf, JANE, PRIYA, providerSays, signIn } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 13: one provider's answer at another's callback (mix-up, RFC 9700, 4.4). Nobody may be shown the code. */

let target: Target;
let saml: SamlIdps;
beforeAll(async () => {
  saml = await samlIdps();
  target = await startTarget(saml.options);
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

describe("by SAML, where each provider has an address of its own to answer to", () => {
  /** What is posted in place of Okta's honest answer: refused in one row, no session, and the honest one is still taken. */
  async function expectSamlMixUp(
    forge: (honest: Awaited<ReturnType<typeof samlAnswer>>) => { provider?: string; xml?: string },
    code: string,
  ): Promise<void> {
    const honest = await samlAnswer(target, saml, "okta", JANE);
    const { browser, begun, xml } = honest;
    const forged = forge(honest);
    const { answer, rows } = await target.recorded(() => browser.post({ ...begun, ...forged }, forged.xml ?? xml));
    expect(answer.status).toBe(400);
    expect(rows.map(({ type, reason }) => `${type} ${String(reason)}`)).toEqual([`login.denied ${code}`]);
    expect(rows[0]).toMatchObject({ provider: "okta-saml", client: "browser" });
    expect(browser.jar.cookies.has("rolecall")).toBe(false);
    expect((await browser.post(begun, xml)).status).toBe(303);
  }

  test.for(["auth0-saml", "entra-saml"])("the answer at the address of %s", (provider) =>
    expectSamlMixUp(() => ({ provider }), "issuer_mismatch"),
  );

  test("another provider's answer, which it signed for its own address", () =>
    expectSamlMixUp(({ browser, begun }) => {
      const own = browser.facts({ ...begun, provider: "auth0-saml" }, saysBySaml("auth0", ANA));
      return { xml: signedResponse(own, saml.keys.auth0) };
    }, "saml_signature_invalid"));

  test("another provider's answer for this address, in the name of the one that was asked", () =>
    expectSamlMixUp(({ browser, begun }) => {
      const posing = browser.facts(begun, { ...saysBySaml("auth0", ANA), issuer: ENTITIES.okta });
      return { xml: signedResponse(posing, saml.keys.auth0) };
    }, "saml_signature_invalid"));

  test.for([
    ["another provider's", ENTITIES.auth0],
    ["its own with a slash", `${ENTITIES.okta}/`],
    ["its own in capitals", ENTITIES.okta.toUpperCase()],
    ["that of the same company's OpenID Connect", "https://acme.okta.com"],
    ["an empty one", ""],
  ])("its own answer with an Issuer that is %s", ([, issuer = ""]) =>
    expectSamlMixUp(({ browser, begun }) => {
      const facts = browser.facts(begun, { ...saysBySaml("okta", JANE), issuer });
      return { xml: signedResponse(facts, saml.keys.okta) };
    }, "issuer_mismatch"),
  );

  test("an answer to the sign-in that another provider was asked for", async () => {
    const browser = saml.browser(target);
    const [okta, auth0] = [await browser.begin("okta-saml"), await browser.begin("auth0-saml")];
    const says = { ...saysBySaml("okta", JANE), inResponseTo: auth0.requestId };
    const crossed = signedResponse(browser.facts(okta, says), saml.keys.okta);
    const { answer, rows } = await target.recorded(() => browser.post(okta, crossed));
    expect([answer.status, rows.map(({ reason }) => reason)]).toEqual([400, ["saml_unsolicited"]]);
  });

  test("at an address of OpenID Connect, and a code at one of SAML: nobody is there", async () => {
    const { browser, begun, xml } = await samlAnswer(target, saml, "okta", JANE);
    const { answer, rows } = await target.recorded(() => browser.post({ ...begun, provider: "okta" }, xml));
    expect([answer.status, rows]).toEqual([404, []]);
    providerSays(target, "okta", JANE);
    const code = await answerOf(target, browser.jar, "okta");
    const shown = codesShown();
    expect((await browser.jar.get(`/login/okta-saml/callback${code.search}`)).status).toBe(404);
    expect(codesShown()).toBe(shown);
    expect((await browser.jar.get(code.href)).status).toBe(303);
    expect((await browser.post(begun, xml)).status).toBe(303);
  });
});
