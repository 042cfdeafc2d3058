import { once } from "node:events";
import { request, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { localPath } from "../../src/http/guard.ts";
import { printable } from "../../src/flow/printable.ts";
import { CookieJar, signInBy } from "../support/cookie-jar.ts";
import { startWeb, type Web } from "../support/web.ts";

let web: Web;
beforeAll(async () => {
  web = await startWeb();
});
afterAll(() => web.close());

describe("every answer", () => {
  it.each([
    ["/", 200],
    ["/nowhere", 404],
    ["/login/okta/callback", 400],
    ["/problems/tag_missing", 200],
    ["/assets/style.css", 200],
    ["/assets/../pages/layout.eta", 404],
    ["/oauth/token", 200],
    ["/federation/jwks", 200],
    ["/healthz", 200],
  ])("has the security headers and a request ID of its own: %s", async (path, status) => {
    const jar = new CookieJar(web.url);
    const [one, two] = [await jar.get(path), await jar.get(path)];
    expect(one.status).toBe(status);
    expect(Object.fromEntries(one.headers)).toMatchObject({
      "content-security-policy":
        "default-src 'none';style-src 'self';img-src 'self';script-src 'self';form-action 'self';frame-ancestors 'none';base-uri 'none'",
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
      "referrer-policy": "same-origin",
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-resource-policy": "same-origin",
      "permissions-policy": expect.stringContaining("camera=()") as string,
    });
    expect(one.headers.has("x-powered-by")).toBe(false);
    expect(one.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    expect(one.headers.get("x-request-id")).not.toBe(two.headers.get("x-request-id"));
  });

  it.each([
    ["a page", "/", "no-store"],
    ["a refusal", "/nowhere", "no-store"],
    ["health", "/readyz", "no-store"],
    ["keys, for AWS", "/federation/jwks", "no-cache"],
    ["discovery, for AWS", "/federation/.well-known/openid-configuration", "no-cache"],
    ["the style sheet", "/assets/style.css", "no-cache"],
  ])("says how long it may be kept: %s", async (_name, path, cacheControl) => {
    expect((await fetch(web.url + path)).headers.get("cache-control")).toBe(cacheControl);
  });

  it("asks for https for a year, only where the broker has it", async () => {
    expect((await fetch(web.url)).headers.has("strict-transport-security")).toBe(false);
    const secure = await startWeb({ config: { baseUrl: "https://rolecall.acme.example" } });
    const header = (await fetch(secure.url)).headers.get("strict-transport-security");
    await secure.close();
    expect(header).toBe("max-age=31536000; includeSubDomains");
  });

  it("takes no request ID from the caller", async () => {
    const answer = await fetch(web.url, { headers: { "x-request-id": "mine" } });
    expect(answer.headers.get("x-request-id")).not.toBe("mine");
  });
});

/** fetch sets Host by itself. */
async function getAs(host: string): Promise<{ text: string; headers: IncomingHttpHeaders }> {
  const sent = request(web.url, { headers: { host, "x-forwarded-host": host, "x-forwarded-proto": "https" } }).end();
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  return { text: (await response.toArray()).join(""), headers: response.headers };
}

describe("the Host header", () => {
  it("has no say in any address, nor have X-Forwarded-*", async () => {
    const { text, headers } = await getAs("evil.example");
    expect(text).toContain("Continue with Okta");
    expect(text + JSON.stringify(headers)).not.toContain("evil.example");
  });
});

describe("a form's origin", () => {
  const own = (): string => web.url;
  it.each([
    ["this site, by Sec-Fetch-Site", () => ({ "sec-fetch-site": "same-origin" }), true],
    ["this site, by Origin", () => ({ origin: own() }), true],
    ["another site", () => ({ "sec-fetch-site": "cross-site", origin: "https://evil.example" }), false],
    ["a sibling of this host", () => ({ "sec-fetch-site": "same-site", origin: "https://x.acme.example" }), false],
    ["another site that claims our Origin", () => ({ "sec-fetch-site": "cross-site", origin: own() }), false],
    ["nobody knows where", () => ({ "sec-fetch-site": "none" }), false],
    ["an old browser on another site", () => ({ origin: "https://evil.example" }), false],
    ["an opaque origin", () => ({ origin: "null" }), false],
    ["our host by another scheme", () => ({ origin: own().replace("http:", "https:") }), false],
    ["our host with more behind it", () => ({ origin: `${own()}.evil.example` }), false],
    ["no word at all", () => ({}), false],
  ])("%s", async (_name, headers, allowed) => {
    const jar = new CookieJar(web.url);
    await signInBy(jar);
    const rows = web.rows.length;
    const answer = await jar.post("/logout", {}, headers());
    expect(answer.status).toBe(allowed ? 303 : 403);
    const page = await (await jar.get("/")).text();
    expect(page.includes("Signed in as")).toBe(!allowed);
    expect(web.rows.slice(rows)).toMatchObject([
      allowed
        ? { type: "session.ended", outcome: "success", email: "Jane@acme.example" }
        : { type: "session.ended", outcome: "refused", reason: "cross_site_request" },
    ]);
  });

  it("matters to nobody's rows when nobody is signed in", async () => {
    const rows = web.rows.length;
    expect((await new CookieJar(web.url).post("/logout", {}, {})).status).toBe(403);
    expect(web.rows).toHaveLength(rows);
  });
});

describe("next", () => {
  it.each([
    ["/oauth/approve/V1StGXR8_Z5jdHi6B-myT", "/oauth/approve/V1StGXR8_Z5jdHi6B-myT"],
    ["/audit?after=17&type=login.denied", "/audit?after=17&type=login.denied"],
    ["/", "/"],
    ["//evil.example", "/"],
    ["\\\\evil.example", "/"],
    ["/\\evil.example", "/"],
    ["/%2f%2fevil.example", "/"],
    ["/%5cevil.example", "/"],
    ["/.//evil.example", "/"],
    ["/..//evil.example", "/"],
    ["/a/..//evil.example", "/"],
    ["https://evil.example/", "/"],
    ["https:evil.example", "/"],
    ["javascript:alert(1)", "/"],
    ["/\tevil", "/"],
    ["/\r\nset-cookie: a=b", "/"],
    ["\u2028/evil", "/"],
    ["/a\u0000", "/"],
    ["evil", "/"],
    ["", "/"],
    [undefined, "/"],
    [["/oauth", "/"], "/"],
    [`/${"a".repeat(600)}`, "/"],
  ])("of %j leads to %j", (next, path) => {
    expect(localPath(next)).toBe(path);
  });

  it("never leaves this site and is never read in two ways", () => {
    const part = fc.constantFrom(
      "/",
      "\\",
      ".",
      "..",
      "%2f",
      "%5c",
      "@",
      ":",
      "evil.example",
      "a",
      "?",
      "#",
      "\t",
      "&",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(part).map((parts) => `/${parts.join("")}`),
          fc.webUrl(),
        ),
        (next) => {
          const url = new URL(localPath(next), "https://rolecall.acme.example");
          expect(url.origin).toBe("https://rolecall.acme.example");
          expect(url.pathname + url.search).toBe(localPath(next));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it.each(["//evil.example", "https://evil.example", "/%2f/evil.example"])("survives no sign-in: %s", async (next) => {
    const finished = await signInBy(new CookieJar(web.url), next);
    expect(finished.headers.get("location")).toBe("/");
  });
});

describe("log lines", () => {
  it.each([
    ["a\r\nb", "a\\u{d}\\u{a}b"],
    ["\u001b[31m", "\\u{1b}[31m"],
    ["\u202egnp.exe", "\\u{202e}gnp.exe"],
    ["zero\u200bwidth", "zero\\u{200b}width"],
    ["\u2028", "\\u{2028}"],
    ["Jürgen 山", "Jürgen 山"],
  ])("show %j as %s", (text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  it("show what stands for an address as inert text, and no more than an address has", async () => {
    const behind = await startWeb({ config: { trustProxy: 1 } });
    try {
      // What fetch sends as UTF-8 arrives as Latin-1: here a C1 control, which begins a terminal's command.
      await fetch(`${behind.url}/nowhere`, { headers: { "x-forwarded-for": `\u009b31m${"1".repeat(500)}` } });
      expect(behind.logged.at(-1)?.fields["address"]).toBe(`\\u{9b}31m${"1".repeat(60)}`);
    } finally {
      await behind.close();
    }
  });

  it("hold no query, since codes and states stand there", async () => {
    await fetch(`${web.url}/nowhere%0a%1b%e2%80%ae?code=secret`);
    const line = JSON.stringify(web.logged.at(-1));
    expect(line).not.toContain("secret");
    expect(line).toContain('"code":"not_found"');
  });
});
