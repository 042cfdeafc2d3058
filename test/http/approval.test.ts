import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Refusal } from "../../src/flow/errors.ts";
import { MappingRefusal } from "../../src/flow/tags.ts";
import { CookieJar, signInBy } from "../support/cookie-jar.ts";
import { startWeb, type Web, type WebChoices } from "../support/web.ts";

const UNKNOWN = "This request of the command line has ended";
let web: Web;
let jar: CookieJar;
beforeEach(() => restart());
afterEach(() => web.close());

async function restart(choices?: WebChoices): Promise<void> {
  web = await startWeb(choices);
  jar = new CookieJar(web.url);
}

const denied = () => web.rows.filter(({ type }) => type === "credentials.denied");

describe("the approval page", () => {
  it("says who asks, for whom and where the answer goes, and lets the form end there alone", async () => {
    await signInBy(jar);
    const answer = await jar.get("/oauth/approve/u1");
    const page = await answer.text();
    expect(answer.status).toBe(200);
    expect(page).toContain("The Rolecall command line on this computer asks for AWS credentials as");
    expect(page).toContain("127.0.0.1:53682");
    expect(page).toContain("If not, decline");
    expect(answer.headers.get("content-security-policy")).toContain("form-action 'self' http://127.0.0.1:53682;");
    expect(answer.headers.get("cache-control")).toBe("no-store");
  });

  it("opens the scheme for an IPv6 address, which CSP can't write", async () => {
    web.approvals.pending = { uid: "u1", clientName: "c", redirectUri: "http://[::1]:53682/callback" };
    await signInBy(jar);
    const { headers } = await jar.get("/oauth/approve/u1");
    expect(headers.get("content-security-policy")).toContain("form-action 'self' http:;");
  });

  it("signs somebody in first, and comes back", async () => {
    const asked = await jar.get("/oauth/approve/u1");
    expect(asked.headers.get("location")).toBe("/?next=%2Foauth%2Fapprove%2Fu1");
    expect(await (await jar.get("/?next=%2Foauth%2Fapprove%2Fu1")).text()).toContain("The Rolecall command line asks");
    const finished = await signInBy(jar, "/oauth/approve/u1");
    expect(finished.headers.get("location")).toBe("/oauth/approve/u1");
    expect((await jar.get("/oauth/approve/u1")).status).toBe(200);
    expect((await jar.get("/?next=%2Foauth%2Fapprove%2Fu1")).headers.get("location")).toBe("/oauth/approve/u1");
  });

  it.each(["claims_expired", "sign_in_expired", "name_unbound", "claim_not_kept"] as const)(
    "signs somebody in again where only that helps: %s",
    async (code) => {
      await web.close();
      await restart({ parts: { decide: () => Promise.reject(new Refusal(code, "x")) } });
      await signInBy(jar);
      expect((await jar.get("/oauth/approve/u1")).headers.get("location")).toContain("/?next=");
      const answered = await jar.post("/oauth/approve/u1", { decision: "approve" });
      expect(answered.headers.get("location")).toContain("/?next=");
      expect(web.approvals.approvedFor).toBeUndefined();
    },
  );

  it("warns where credentials would be refused", async () => {
    await web.close();
    await restart({ parts: { decide: () => Promise.reject(new MappingRefusal("tag_missing", "x", [])) } });
    await signInBy(jar);
    expect(await (await jar.get("/oauth/approve/u1")).text()).toContain("It would get none now.");
  });

  it.each([
    ["that ended", undefined],
    ["of another address", { uid: "u2", clientName: "c", redirectUri: "http://127.0.0.1:1/" }],
  ])("shows no approval %s", async (_name, pending) => {
    web.approvals.pending = pending;
    await signInBy(jar);
    const answer = await jar.get("/oauth/approve/u1");
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain(UNKNOWN);
    const posted = await jar.post("/oauth/approve/u1", { decision: "approve" });
    expect(posted.status).toBe(400);
    expect(web.approvals.approvedFor).toBeUndefined();
    expect(denied()).toMatchObject([{ reason: "approval_unknown", email: "Jane@acme.example" }]);
  });
});

describe("the answer", () => {
  it("allows: the grant gets the session's Identity, and the browser goes back to the command line", async () => {
    await signInBy(jar);
    const answer = await jar.post("/oauth/approve/u1", { decision: "approve" });
    expect(answer.status).toBe(303);
    expect(answer.headers.get("location")).toBe("http://127.0.0.1:53682/callback?code=c1");
    expect(web.approvals.approvedFor).toMatchObject({ subject: "00u1", claims: { costCenter: "cc-1042" } });
    expect(denied()).toEqual([]);
  });

  it("declines: the command line is told, and it is one event", async () => {
    await signInBy(jar);
    const answer = await jar.post("/oauth/approve/u1", { decision: "decline" });
    expect(answer.headers.get("location")).toContain("error=access_denied");
    expect(web.approvals.declined).toBe(true);
    expect(denied()).toMatchObject([{ reason: "approval_declined", outcome: "refused", client: "browser" }]);
  });

  it("is taken once: a double submit is refused by name", async () => {
    await signInBy(jar);
    await jar.post("/oauth/approve/u1", { decision: "approve" });
    const again = await jar.post("/oauth/approve/u1", { decision: "approve" });
    expect(again.status).toBe(400);
    expect(await again.text()).toContain(UNKNOWN);
    expect(denied()).toHaveLength(1);
  });

  it.each([
    ["from another site", { decision: "approve" }, { "sec-fetch-site": "cross-site" }, 403, "cross_site_request"],
    ["from a sibling host", { decision: "approve" }, { "sec-fetch-site": "same-site" }, 403, "cross_site_request"],
    ["from nobody knows where", { decision: "approve" }, {}, 403, "cross_site_request"],
    ["without a decision", {}, { "sec-fetch-site": "same-origin" }, 400, "request_malformed"],
    ["of another word", { decision: "yes" }, { "sec-fetch-site": "same-origin" }, 400, "request_malformed"],
  ])("is refused %s, as one event", async (_name, fields, headers, status, reason) => {
    await signInBy(jar);
    const answer = await jar.post("/oauth/approve/u1", fields, headers);
    expect(answer.status).toBe(status);
    expect(web.approvals.approvedFor).toBeUndefined();
    expect(denied()).toMatchObject([{ reason, requestId: answer.headers.get("x-request-id") }]);
  });

  it("is refused without a session, and leaves no event", async () => {
    const cross = await jar.post("/oauth/approve/u1", { decision: "approve" }, {});
    expect(cross.status).toBe(403);
    const own = await jar.post("/oauth/approve/u1", { decision: "approve" });
    expect(own.headers.get("location")).toBe("/?next=%2Foauth%2Fapprove%2Fu1");
    expect(web.approvals.approvedFor).toBeUndefined();
    expect(web.rows).toEqual([]);
  });

  it.each([
    ["too large", "application/x-www-form-urlencoded", `decision=approve&x=${"x".repeat(4000)}`],
    ["in another charset", "application/x-www-form-urlencoded; charset=x-evil", "decision=approve"],
    ["JSON", "application/json", '{"decision":"approve"}'],
  ])("can't be a form that is %s", async (_name, type, body) => {
    await signInBy(jar);
    const cookie = `rolecall=${jar.cookies.get("rolecall") ?? ""}`;
    const headers = { cookie, "content-type": type, "sec-fetch-site": "same-origin" };
    const answer = await fetch(`${web.url}/oauth/approve/u1`, { method: "POST", headers, body });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain("The request could not be read.");
    expect(web.approvals.approvedFor).toBeUndefined();
    expect(denied()).toMatchObject([{ reason: "request_malformed" }]);
  });

  it("leaves everything else below /oauth to the authorization server", async () => {
    for (const path of ["/oauth/token", "/oauth/auth?x=1", "/oauth/approve"]) {
      expect(await (await jar.get(path)).text()).toBe(`authorization server: ${path.slice("/oauth".length)}`);
    }
  });
});
