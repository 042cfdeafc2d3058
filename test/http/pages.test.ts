import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { REASONS, Refusal, type ReasonCode } from "../../src/flow/errors.ts";
import { MappingRefusal, type TraceStep } from "../../src/flow/tags.ts";
import { inWords, instant, loadPages } from "../../src/http/pages.ts";
import { traceLine, whyTag } from "../../src/http/why.ts";
import { CookieJar, signInBy } from "../support/cookie-jar.ts";
import { startWeb, webConfig, type Web, type WebChoices } from "../support/web.ts";

const EVIL = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>`;
const CODES = Object.keys(REASONS) as ReasonCode[];

/** What an HTML checker and a screen reader would ask of each page, as far as text tells. */
function expectSound(html: string): void {
  expect(html).toMatch(/^<!doctype html>\n<html lang="en">/);
  expect(html.match(/<title>[^<]+ · Rolecall<\/title>/g)).toHaveLength(1);
  expect(html.match(/<h1\b/g)).toHaveLength(1);
  for (const landmark of ["header", "main", "footer"]) {
    expect(html.match(new RegExp(`<${landmark}\\b`, "g"))).toHaveLength(1);
  }
  const ids = [...html.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const [, name] of html.matchAll(/aria-(?:labelledby|describedby)="([^"]*)"/g)) expect(ids).toContain(name);
  // The policy allows neither, so that a page with one would be broken.
  expect(html).not.toMatch(
    /<[^>]* (?:style|on[a-z]+)=|<style|<script(?! type="module" src="\/assets\/copy\.js"><\/script>)/,
  );
  expect(html).not.toMatch(/undefined|\[object|NaN/);
  expectBalanced(html);
}

function expectBalanced(html: string): void {
  const open: string[] = [];
  for (const [, end, name = ""] of html.matchAll(/<(\/?)([a-z][a-z0-9]*)\b[^>]*>/g)) {
    if (["meta", "link", "img", "input", "br"].includes(name)) continue;
    if (end === "") open.push(name);
    else expect(open.pop()).toBe(name);
  }
  expect(open).toEqual([]);
}

describe("pages", () => {
  let web: Web;
  let jar: CookieJar;
  beforeAll(async () => {
    web = await startWeb();
    jar = new CookieJar(web.url);
    await signInBy(jar);
  });
  afterAll(() => web.close());

  const visitor = (): CookieJar => new CookieJar(web.url);
  it.each([
    ["the choice of providers", () => visitor().get("/")],
    ["after signing out", () => visitor().get("/?signed-out")],
    ["who is signed in", () => jar.get("/")],
    ["the approval", () => jar.get("/oauth/approve/u1")],
    ["a refusal", () => visitor().get("/login/okta/callback")],
    ["nothing there", () => jar.get("/nowhere")],
    ["a reason", () => jar.get("/problems/email_taken")],
  ])("are sound HTML: %s", async (_name, open) => {
    expectSound(await (await open()).text());
  });

  it("explain every reason code", () => {
    const pages = loadPages();
    for (const code of CODES) {
      expectSound(pages.refusal({ code, requestId: "r" }));
      expectSound(pages.problem(code));
    }
  });

  it("know no other reason", async () => {
    for (const code of ["nothing", "constructor", "__proto__"]) {
      expect((await jar.get(`/problems/${code}`)).status).toBe(404);
    }
  });

  it("serve the style sheet, the icon and the script as what they are", async () => {
    const types = ["style.css", "icon.svg", "copy.js"].map(async (file) => {
      const { status, headers } = await jar.get(`/assets/${file}`);
      return [status, headers.get("content-type")];
    });
    expect(await Promise.all(types)).toEqual([
      [200, "text/css; charset=utf-8"],
      [200, "image/svg+xml"],
      [200, "text/javascript; charset=utf-8"],
    ]);
  });
});

describe("what others wrote", () => {
  const trace: TraceStep[] = [{ tag: EVIL, rule: "from[0]", claim: EVIL, value: EVIL, outcome: "spoke" }];
  it.each<[string, WebChoices["parts"]]>([
    ["tags that are given", { decide: () => Promise.resolve({ tags: { [EVIL]: EVIL }, trace, sessionName: EVIL }) }],
    ["a trace of a refusal", { decide: () => Promise.reject(new MappingRefusal("tag_missing", EVIL, trace)) }],
  ])("stays text on every page: %s", async (_name, parts) => {
    const [provider] = webConfig("http://127.0.0.1").providers;
    if (provider === undefined) throw new Error("no provider");
    const web = await startWeb({
      config: { providers: [{ ...provider, label: EVIL }] },
      identity: { email: EVIL },
      ...(parts && { parts }),
    });
    web.approvals.pending = { uid: "u1", clientName: EVIL, redirectUri: "http://127.0.0.1:1/" };
    const jar = new CookieJar(web.url);
    const pages = [await jar.get("/")];
    await signInBy(jar);
    pages.push(await jar.get("/"), await jar.get("/oauth/approve/u1"));
    for (const answer of pages) {
      const page = await answer.text();
      expect(page).toContain("&lt;script&gt;");
      expect(page).not.toContain("<script>");
      expect(page).not.toContain("<img src=x");
      expectSound(page);
    }
    await web.close();
  });

  it("never reaches the page of a failure", async () => {
    const web = await startWeb({ parts: { decide: () => Promise.reject(new Refusal("ledger_unavailable", EVIL)) } });
    const jar = new CookieJar(web.url);
    await signInBy(jar);
    const answer = await jar.get("/");
    const page = await answer.text();
    expect(answer.status).toBe(503);
    expect(page).toContain("without a record there are no credentials");
    expect(page).not.toContain("alert(1)");
    await web.close();
  });
});

describe("words", () => {
  it.each([
    [3600, "1 hour"],
    [1800, "30 minutes"],
    [5400, "1 hour 30 minutes"],
    [43_200, "12 hours"],
    [60, "1 minute"],
    [1, "1 minute"],
  ])("%d s are %s", (seconds, words) => {
    expect(inWords(seconds)).toBe(words);
  });

  it("give a moment in UTC", () => {
    expect(instant(Date.UTC(2026, 10, 22, 9, 5))).toEqual({
      text: "2026-11-22 09:05 UTC",
      iso: "2026-11-22T09:05:00.000Z",
    });
  });

  it.each<[TraceStep, string]>([
    [
      { tag: "team", rule: "from[0]", claim: "groups", value: "search", outcome: "spoke" },
      "from Okta’s claim groups, rule 1",
    ],
    [
      { tag: "team", rule: "default", value: "x", outcome: "spoke" },
      "the default, since your sign-in service sent nothing that says it",
    ],
  ])("say why a tag has its value", (step, why) => {
    expect(whyTag(step, "Okta")).toBe(why);
  });

  it("number the rules as people do", () => {
    const step = { tag: "team", rule: "from[2]", claim: "department", outcome: "no match" } as const;
    expect(traceLine(step)).toBe("team, rule 3 (claim department) found no value that it knows");
  });
});
