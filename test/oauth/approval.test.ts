import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { loginRequest, open, target, type Authorization } from "../support/authorization.ts";
import { startBrokers, type Brokers } from "../support/brokers.ts";
import { PathCookies } from "../support/path-cookies.ts";

let brokers: Brokers;
let of: Authorization;

beforeAll(async () => {
  brokers = await startBrokers();
  ({ of } = brokers);
});
afterAll(() => brokers.close());

describe("the approval", () => {
  it("sends a no back to the command line", async () => {
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, loginRequest()));
    const resume = target(await browser.post(page.href, { decision: "decline" }));
    const back = target(await browser.get(resume.href));
    expect(Object.fromEntries(back.searchParams)).toEqual({
      error: "access_denied",
      error_description: "You declined to give the command line access.",
      state: "state-1",
      iss: of.issuer,
    });
  });

  it("keeps two tabs of one browser apart", async () => {
    const browser = new PathCookies(of.url);
    const [one, two] = [loginRequest({ state: "one" }), loginRequest({ state: "two" })];
    const first = target(await open(of, browser, one));
    const second = target(await open(of, browser, two));
    for (const [page, state] of [
      [first, "one"],
      [second, "two"],
    ] as const) {
      const resume = target(await browser.post(page.href, { decision: "approve" }));
      const back = target(await browser.get(resume.href));
      expect(back.searchParams.get("state")).toBe(state);
      expect(back.searchParams.get("code")).toMatch(/^[\w-]{43}$/);
    }
  });

  it("takes one of ten answers at once", async () => {
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, loginRequest()));
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) => browser.post(page.href, { decision: i % 2 === 0 ? "approve" : "decline" })),
    );
    expect(answers.filter(({ status }) => status === 303)).toHaveLength(1);
    for (const answer of answers.filter(({ status }) => status !== 303)) {
      expect(await answer.json()).toEqual({ code: "approval_unknown" });
    }
  });

  it("gives one code to ten resumptions at once", async () => {
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, loginRequest()));
    const resume = target(await browser.post(page.href, { decision: "approve" }));
    const backs = await Promise.all(Array.from({ length: 10 }, () => browser.get(resume.href)));
    const codes = backs.filter((back) => back.status === 303).map((back) => target(back).searchParams.get("code"));
    expect(codes).toHaveLength(1);
  });

  const lost: [name: string, make: () => Promise<[PathCookies, URL]>][] = [
    [
      "answered already (back button, double submit)",
      async () => {
        const browser = new PathCookies(of.url);
        const page = target(await open(of, browser, loginRequest()));
        await browser.post(page.href, { decision: "approve" });
        return [browser, page];
      },
    ],
    [
      "finished already",
      async () => {
        const browser = new PathCookies(of.url);
        const page = target(await open(of, browser, loginRequest()));
        await browser.get(target(await browser.post(page.href, { decision: "approve" })).href);
        return [browser, page];
      },
    ],
    [
      "begun in another browser",
      async () => [new PathCookies(of.url), target(await open(of, new PathCookies(of.url), loginRequest()))],
    ],
    [
      "made up",
      async () => {
        const browser = new PathCookies(of.url);
        await open(of, browser, loginRequest());
        return [browser, new URL(`${of.issuer}/approve/${"x".repeat(43)}`)];
      },
    ],
  ];
  it.each(lost)("is not there for a request that was %s", async (_name, make) => {
    const [browser, page] = await make();
    expect(await (await browser.get(page.href)).json()).toBeNull();
    for (const decision of ["approve", "decline"]) {
      const answer = await browser.post(page.href, { decision });
      expect([answer.status, await answer.json()]).toEqual([400, { code: "approval_unknown" }]);
    }
    const resumed = await browser.get(page.href.replace("/approve/", "/auth/"));
    if (resumed.status !== 303) {
      expect(resumed.status).toBe(400);
      expect(await resumed.text()).toContain("This request of the command line has ended");
    }
  });

  it("expires after ten minutes", async () => {
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, loginRequest()));
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 11 * 60_000 });
    try {
      expect(await (await browser.get(page.href)).json()).toBeNull();
      const answer = await browser.post(page.href, { decision: "approve" });
      expect(await answer.json()).toEqual({ code: "approval_unknown" });
    } finally {
      vi.useRealTimers();
    }
  });
});
