import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  approve,
  jane,
  loginRequest,
  open,
  refresh,
  signedIn,
  target,
  token,
  tokensOf,
  type Authorization,
} from "../support/authorization.ts";
import { startBrokers, type Brokers } from "../support/brokers.ts";
import { PathCookies } from "../support/path-cookies.ts";

let brokers: Brokers;
let of: Authorization;
let other: Authorization;

beforeAll(async () => {
  brokers = await startBrokers();
  ({ of, other } = brokers);
});
afterAll(() => brokers.close());

describe("Redis in other hands (threats 24 and 28)", () => {
  it("holds no token, code, verifier, session or name in the clear, in no key and no value; the log neither", async () => {
    const request = loginRequest();
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, request));
    const resume = target(await browser.post(page.href, { decision: "approve" }));
    const code = target(await browser.get(resume.href)).searchParams.get("code") ?? "";
    const pending = target(await open(of, browser, loginRequest()));
    const first = await token(of, {
      grant_type: "authorization_code",
      code,
      redirect_uri: request.parameters["redirect_uri"],
      code_verifier: request.verifier,
    });
    const second = await refresh(of, tokensOf(first).refresh);
    const { identity, grantId } = (await of.server.grantOf(tokensOf(second).access)) ?? {};
    const secrets = {
      code,
      verifier: request.verifier,
      answered: page.pathname.split("/").at(-1),
      pending: pending.pathname.split("/").at(-1),
      ...Object.fromEntries(Object.entries(tokensOf(first)).map(([name, value]) => [`first ${name}`, value])),
      ...Object.fromEntries(Object.entries(tokensOf(second)).map(([name, value]) => [`second ${name}`, value])),
      "ID token": first.body["id_token"],
      email: identity?.email,
      subject: identity?.subject,
      grant: grantId,
    };
    const dump = await brokers.redis.dump();
    expect(dump.size).toBeGreaterThan(8);
    const stolen = [...dump].flat().join("\n");
    const decoded = [...dump.values()]
      .map((value) => Buffer.from(value.slice(3), "base64url").toString("latin1"))
      .join();
    const logged = JSON.stringify([...of.log.lines, ...other.log.lines]);
    for (const [name, secret] of Object.entries(secrets)) {
      expect(String(secret).length, name).toBeGreaterThan(6);
      expect(stolen.includes(String(secret)), `${name} in Redis`).toBe(false);
      expect(decoded.includes(String(secret)), `${name} in Redis, decoded`).toBe(false);
      expect(logged.includes(String(secret)), `${name} in the log`).toBe(false);
    }
  });

  it("nobody becomes somebody else by values moved between keys", async () => {
    const mine = await signedIn(of);
    of.person = jane({ subject: "00u-boss", email: "boss@acme.example" });
    const theirs = await signedIn(of);
    const client = new Redis(brokers.redis.port);
    const subjects = await client.keys("rolecall:oauth:{*}:subject");
    const values = await Promise.all(subjects.map((key) => client.get(key)));
    for (const [i, key] of subjects.entries()) await client.set(key, values.at(i - 1) ?? "", "KEEPTTL");
    client.disconnect();
    expect(await of.server.grantOf(mine.access)).toBeUndefined();
    expect(await of.server.grantOf(theirs.access)).toBeUndefined();
  });
});

describe("Redis away (threat 20)", () => {
  it("refuses with a status that says when to come back, and goes on by itself", { timeout: 60_000 }, async () => {
    const tokens = await signedIn(of);
    const browser = new PathCookies(of.url);
    const page = target(await open(of, browser, loginRequest()));
    brokers.redis.pause();
    try {
      const refused = await refresh(of, tokens.refresh);
      expect(refused).toMatchObject({ status: 503, body: { error: "temporarily_unavailable" } });
      expect(refused.headers.get("retry-after")).toBe("5");
      await expect(of.server.grantOf(tokens.access)).rejects.toMatchObject({ code: "store_unavailable" });
      const opened = await open(of, browser, loginRequest());
      expect([opened.status, opened.headers.get("location")]).toEqual([503, null]);
      const approved = await browser.post(page.href, { decision: "approve" });
      expect([approved.status, await approved.json()]).toEqual([503, { code: "store_unavailable" }]);
    } finally {
      brokers.redis.resume();
    }
    await expect
      .poll(
        () =>
          brokers.ping().then(
            () => "pong",
            () => undefined,
          ),
        { timeout: 10_000 },
      )
      .toBe("pong");
    expect((await of.server.grantOf(tokens.access))?.identity).toEqual(of.person);
    const back = await approve(of);
    expect(back.searchParams.get("code")).toBeTruthy();
    // Frozen before the token was looked up, so it was not used up.
    expect((await refresh(of, tokens.refresh)).status).toBe(200);
  });
});
