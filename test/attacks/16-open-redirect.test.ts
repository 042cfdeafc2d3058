import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loginRequest } from "../support/authorization.ts";
import { CookieJar } from "../support/cookie-jar.ts";
import { samlAnswer, samlIdps, type SamlIdps } from "./support/saml.ts";
import { answerOf, JANE, providerSays, signIn } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 16: an address of the attacker's in `next`, or in RelayState: a local page. */

let target: Target;
let saml: SamlIdps;
/** Somebody who is signed in. */
let jane: CookieJar;
beforeAll(async () => {
  saml = await samlIdps();
  target = await startTarget(saml.options);
  jane = (await signIn(target, "okta", JANE)).jar;
});
afterAll(() => target.close());

const ELSEWHERE = [
  "//evil.example",
  "///evil.example",
  "////evil.example//",
  "\\\\evil.example",
  "/\\evil.example",
  "\\/evil.example",
  "/%2f%2fevil.example",
  "%2f%2fevil.example",
  "/%5cevil.example",
  "/%255cevil.example",
  "/%09/evil.example",
  "/\t/evil.example",
  "/\n/evil.example",
  "/\r\nLocation: https://evil.example",
  "\u0000//evil.example",
  " //evil.example",
  "https://evil.example",
  "https:evil.example",
  "http:///evil.example",
  "HTTPS://evil.example/",
  "javascript:alert(document.domain)",
  "data:text/html,x",
  "evil.example",
  "@evil.example",
  ".evil.example",
  "/@evil.example",
  "/.//evil.example",
  "/..//evil.example",
  "/./evil.example",
  "/ok/..//evil.example",
  "/;//evil.example",
  "/?//evil.example",
  "/#//evil.example",
  "/\u2215/evil.example",
  "/\uff0fevil.example",
  "/\u3000//evil.example",
  "?next=//evil.example",
  "",
  `/${"a".repeat(600)}`,
];

/** The page that a browser would end on, which is the broker's own. */
function localPage(answer: Response): string {
  const location = answer.headers.get("location") ?? "none";
  expect(location).toMatch(/^\/(?![/\\])[\x21-\x7e]*$/);
  const page = new URL(location, target.url);
  expect(page.origin).toBe(target.url);
  return page.pathname + page.search;
}

test("at the end of a sign-in: the first page, and the one that was asked for where it is local", async () => {
  providerSays(target, "okta", JANE);
  const jar = new CookieJar(target.url);
  const { rows } = await target.recorded(async () => {
    for (const next of ELSEWHERE) {
      const { href } = await answerOf(target, jar, "okta", next);
      expect(localPage(await jar.get(href)), next).toBe("/");
    }
  });
  // Whoever was lured here has signed in, and no more.
  expect(new Set(rows.map(({ type }) => type))).toEqual(new Set(["login.succeeded"]));
  const { href } = await answerOf(target, jar, "okta", "/oauth/approve/u-1?x=1");
  expect(localPage(await jar.get(href))).toBe("/oauth/approve/u-1?x=1");
});

test("on the first page, for who is signed in and for who is not", async () => {
  const visitor = new CookieJar(target.url);
  for (const next of ELSEWHERE) {
    const asked = `/?next=${encodeURIComponent(next)}`;
    expect((await jane.get(asked)).status, next).toBe(200);
    const page = await (await visitor.get(asked)).text();
    expect(page, next).not.toContain("evil");
    expect(
      [...page.matchAll(/href="(\/login[^"]*)"/g)].map(([, link]) => link),
      next,
    ).toContain("/login/okta");
  }
  expect(localPage(await jane.get("/?next=%2Foauth%2Fapprove%2Fu-1"))).toBe("/oauth/approve/u-1");
  expect(await (await visitor.get("/?next=%2Fsessions")).text()).toContain('href="/login/okta?next=%2Fsessions"');
});

test.for(["next=/a&next=//evil.example", "next[]=//evil.example", "next[x]=//evil.example", "next[]=/a"])(
  "given in pieces: %s",
  async (query) => {
    expect((await jane.get(`/?${query}`)).status).toBe(200);
    const jar = new CookieJar(target.url);
    const begun = await jar.get(`/login/okta?${query}`);
    const back = await fetch(begun.headers.get("location") ?? "", { redirect: "manual" });
    expect(localPage(await jar.get(back.headers.get("location") ?? ""))).toBe("/");
  },
);

test.for([
  "next",
  "RelayState",
  "redirect_uri",
  "redirect",
  "return_to",
  "target_link_uri",
  "post_logout_redirect_uri",
])(
  "%s in the provider's answer, at the end of the session and on the way to the command line changes nothing",
  async (name) => {
    providerSays(target, "okta", JANE);
    const jar = new CookieJar(target.url);
    const answer = await answerOf(target, jar, "okta", "/oauth/approve/u-1");
    answer.searchParams.set(name, "https://evil.example/");
    expect(localPage(await jar.get(answer.href))).toBe("/oauth/approve/u-1");
    expect(localPage(await jar.post(`/logout?${name}=https://evil.example/`, { [name]: "//evil.example" }))).toBe(
      "/?signed-out",
    );
    if (name === "redirect_uri") return;
    const request = { ...loginRequest().parameters, [name]: "https://evil.example/" };
    expect(localPage(await jar.get(`/oauth/auth?${new URLSearchParams(request).toString()}`))).toMatch(
      /^\/oauth\/approve\/[\w-]{43}$/,
    );
  },
);

test.for([
  "/login/okta",
  "/",
  "/oauth/auth",
  "/login/okta/callback",
  "/nothing",
  "//evil.example/%2e%2e",
  "/assets//evil.example",
])("a request that names another host sends nobody there: %s", async (path) => {
  const evil = { host: "evil.example", "x-forwarded-host": "evil.example", forwarded: "host=evil.example" };
  const asking = httpRequest({ port: new URL(target.url).port, host: "127.0.0.1", path, headers: evil }).end();
  const [answer] = (await once(asking, "response")) as [IncomingMessage];
  const page = (await answer.toArray()).join("");
  expect(JSON.stringify(answer.headers)).not.toContain("evil");
  expect(page).not.toContain("evil");
});

describe("by SAML", () => {
  test("next: at the end, the first page, and the one that was asked for where it is local", async () => {
    // SAML's answer costs signatures: one of each sort.
    for (const next of ["//evil.example", "/\\evil.example", "/%2f%2fevil.example", "https://evil.example", "\t//x"]) {
      const { browser, begun, xml } = await samlAnswer(target, saml, "okta", JANE, { next });
      expect(localPage(await browser.post(begun, xml)), next).toBe("/");
    }
    const { browser, begun, xml } = await samlAnswer(target, saml, "okta", JANE, { next: "/oauth/approve/u-1?x=1" });
    expect(localPage(await browser.post(begun, xml))).toBe("/oauth/approve/u-1?x=1");
  });

  test("RelayState is never an address: refused as no sign-in of ours, and sends nobody anywhere", async () => {
    const { browser, begun, xml } = await samlAnswer(target, saml, "okta", JANE, { next: "/oauth/approve/u-1" });
    const { rows } = await target.recorded(async () => {
      for (const relayState of [...ELSEWHERE, "/", "/sessions", `${begun.relayState}//evil.example`]) {
        const answer = await browser.post({ ...begun, relayState }, xml);
        expect([answer.status, answer.headers.get("location")], relayState).toEqual([400, null]);
        expect(await answer.text(), relayState).not.toContain("evil");
      }
    });
    expect(rows).toEqual([]);
    expect(localPage(await browser.post(begun, xml))).toBe("/oauth/approve/u-1");
  });

  test("given twice, or beside a next of the form's: the sign-in's own page alone", async () => {
    const { browser, begun, xml } = await samlAnswer(target, saml, "okta", JANE, { next: "/oauth/approve/u-1" });
    const SAMLResponse = Buffer.from(xml).toString("base64");
    const post = (fields: [string, string][]): Promise<Response> =>
      fetch(`${target.url}/login/okta-saml/acs`, {
        method: "POST",
        redirect: "manual",
        headers: { cookie: [...browser.jar.cookies].map((pair) => pair.join("=")).join("; ") },
        body: new URLSearchParams([["SAMLResponse", SAMLResponse], ...fields]),
      });
    const { relayState } = begun;
    const twice = await post([
      ["RelayState", relayState],
      ["RelayState", "//evil.example"],
    ]);
    expect([twice.status, twice.headers.get("location")]).toEqual([400, null]);
    const beside = await post([
      ["RelayState", relayState],
      ["next", "//evil.example"],
      ["TargetResource", "https://evil.example"],
    ]);
    expect(localPage(beside)).toBe("/oauth/approve/u-1");
  });
});
