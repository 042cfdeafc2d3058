import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { CookieJar } from "../support/cookie-jar.ts";
import { expectDenied } from "./support/refusals.ts";
import {
  accessToken,
  answerOf,
  claimsOf,
  codeFor,
  credentials,
  JANE,
  providerSays,
  redeem,
  refresh,
  signIn,
} from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 28: whoever can write Redis. Values are bound to their key; who owns which name is in the ledger's database. */

let target: Target;
let redis: Redis;
beforeAll(async () => {
  target = await startTarget();
  redis = new Redis(target.redis.port);
});
afterAll(async () => {
  redis.disconnect();
  await target.close();
});
afterEach(() => redis.flushall());

const OMAR = claimsOf("okta", "Omar");

/** The keys of one kind, in the order in which `work` made them. */
async function keysMadeBy(pattern: string, ...work: (() => Promise<unknown>)[]): Promise<string[]> {
  const made: string[] = [];
  for (const step of work) {
    const before = new Set(await redis.keys(pattern));
    await step();
    made.push(...(await redis.keys(pattern)).filter((key) => !before.has(key)));
  }
  return made;
}

async function copy(from = "none", to = "none"): Promise<void> {
  await redis.set(to, (await redis.get(from)) ?? "none", "KEEPTTL");
}

async function swap(one = "none", other = "none"): Promise<void> {
  const [first, second] = [await redis.get(one), await redis.get(other)];
  await redis.set(one, second ?? "none", "KEEPTTL");
  await redis.set(other, first ?? "none", "KEEPTTL");
}

const pageOf = async (jar: CookieJar): Promise<string> => (await jar.get("/")).text();
const notOurs = (): number => target.logged.filter(({ message }) => message === "a stored value is not ours").length;

test("browser sessions swapped between their keys: nobody is signed in, and the log says why", async () => {
  const jars = { jane: new CookieJar(target.url), omar: new CookieJar(target.url) };
  const [hers, his] = await keysMadeBy(
    "rolecall:session:{*}",
    () => signIn(target, "okta", JANE, { jar: jars.jane }),
    () => signIn(target, "okta", OMAR, { jar: jars.omar }),
  );
  expect(await pageOf(jars.jane)).toContain("jane@acme.example");
  const said = notOurs();
  const { rows } = await target.recorded(async () => {
    await swap(hers, his);
    expect(await pageOf(jars.jane)).not.toContain("@acme.example");
    expect(await pageOf(jars.omar)).not.toContain("@acme.example");
  });
  expect(rows).toEqual([]);
  expect(notOurs()).toBe(said + 2);
  await swap(hers, his);
  expect(await pageOf(jars.jane)).toContain("jane@acme.example");
});

test.for(["subject", "grant"])(
  "what two grants of the command line stand for, swapped (%s): no credentials",
  async (part) => {
    let [janes, omars] = ["", ""];
    const [hers, his] = await keysMadeBy(
      `rolecall:oauth:{*}:${part}`,
      async () => (janes = await accessToken(target, "okta", JANE)),
      async () => (omars = await accessToken(target, "okta", OMAR)),
    );
    expect((await credentials(target, janes)).status).toBe(200);
    await swap(hers, his);
    const { answer, rows } = await target.recorded(() =>
      Promise.all([credentials(target, janes), credentials(target, omars)]),
    );
    // Where only the scopes were moved, a refresh finds nothing; the token is still its owner's.
    for (const { status, body } of answer) {
      if (part === "subject") expect(status).toBe(401);
      else expect(JSON.stringify(body)).not.toMatch(/"code":"internal_error"/);
    }
    if (part === "grant") return;
    expect(rows).toEqual([]);
    await swap(hers, his);
    expect((await credentials(target, janes)).body["sessionArn"]).toMatch(/\/jane@acme\.example$/);
  },
);

test("an access token that is made to point at another's grant: no credentials", async () => {
  let [janes, omars] = ["", ""];
  const [hers, his] = await keysMadeBy(
    "rolecall:oauth:access-token:*",
    async () => (janes = await accessToken(target, "okta", JANE)),
    async () => (omars = await accessToken(target, "okta", OMAR)),
  );
  await copy(hers, his);
  expect((await credentials(target, omars)).status).toBe(401);
  expect((await credentials(target, janes)).status).toBe(200);
});

test("what a provider gave to be asked again with can't be read", async () => {
  for (const idp of [target.idps.okta])
    idp.behavior.tokens = (tokens) => ({ ...tokens, refresh_token: `r-${Math.random()}` });
  const keys = await keysMadeBy(
    "rolecall:refresh:{*}",
    () => accessToken(target, "okta", JANE),
    () => accessToken(target, "okta", OMAR),
  );
  expect(keys).toHaveLength(2);
  const values = await Promise.all(keys.map((key) => redis.get(key)));
  // Sealed and bound: not one byte of what the provider gave, and not each other's.
  for (const value of values)
    expect(Buffer.from((value ?? "").slice(3), "base64url").toString("latin1")).not.toContain("r-0");
  target.idps.okta.behavior.tokens = (tokens) => tokens;
});

test.for([
  ["made up", () => "v1." + Buffer.alloc(200).toString("base64url")],
  [
    "in the clear",
    () =>
      JSON.stringify({
        cookie: {},
        identity: {
          provider: "okta",
          directory: "okta",
          subject: "boss",
          email: "boss@acme.example",
          claims: {},
          signedInAt: Date.now(),
          claimsAt: Date.now(),
        },
      }),
  ],
  ["empty", () => ""],
  ["of another version", (value: string) => value.replace(/^v1/, "v0")],
  [
    "with one byte changed",
    (value: string) => value.slice(0, -8) + (value.at(-8) === "A" ? "B" : "A") + value.slice(-7),
  ],
  ["cut short", (value: string) => value.slice(0, -20)],
] as const)("a session that is %s is nobody's", async ([, forge]) => {
  const jar = new CookieJar(target.url);
  const [key = "none"] = await keysMadeBy("rolecall:session:{*}", () => signIn(target, "okta", JANE, { jar }));
  const honest = (await redis.get(key)) ?? "none";
  await redis.set(key, forge(honest), "KEEPTTL");
  expect(await pageOf(jar)).not.toContain("@acme.example");
  await redis.set(key, honest, "KEEPTTL");
  expect(await pageOf(jar)).toContain("jane@acme.example");
});

test("a sign-in under way that is put back after it was used: the provider's code is spent, or the nonce is", async () => {
  providerSays(target, "okta", JANE);
  const jar = new CookieJar(target.url);
  let back = new URL("none:");
  const [key = "none"] = await keysMadeBy("rolecall:login:*", async () => (back = await answerOf(target, jar, "okta")));
  const kept = (await redis.get(key)) ?? "none";
  expect((await jar.get(back.href)).status).toBe(303);
  expect((await jar.get(back.href)).status).toBe(400);
  // Bound to its own state: under another one it is nothing.
  const other = await answerOf(target, jar, "okta");
  for (const login of await redis.keys("rolecall:login:*")) await redis.set(login, kept, "KEEPTTL");
  const { answer, rows } = await target.recorded(() => jar.get(other.href));
  expect([answer.status, rows]).toEqual([400, []]);
});

test("the mark of a used code or refresh token removed: still no second use of a code's sign-in by somebody else", async () => {
  const code = await codeFor(target, "okta", JANE);
  const { body } = await redeem(target, code);
  await refresh(target, body["refresh_token"]);
  for (const key of await redis.keys("*:used")) await redis.del(key);
  // Whoever removes marks needs the verifier as well: what they hold of Redis does not say it.
  const { answer, rows } = await target.recorded(() => redeem(target, code, { code_verifier: "x".repeat(43) }));
  expect(answer.status).toBe(400);
  expect(rows).toMatchObject([{ type: "credentials.denied", reason: "token_request_invalid" }]);
});

test("everything removed: everybody signs in again, under their own name, which nobody else can have", async () => {
  const access = await accessToken(target, "okta", JANE);
  await redis.flushall();
  expect((await credentials(target, access)).status).toBe(401);
  await expectDenied(target, "okta", { ...OMAR, sub: "00u-thief", email: "jane@acme.example" }, "email_taken");
  const { rows } = await target.recorded(async () => credentials(target, await accessToken(target, "okta", JANE)));
  expect(rows.map(({ type }) => type)).not.toContain("identity.bound");
  expect(rows.at(-1)).toMatchObject({ type: "credentials.issued", sessionName: "jane@acme.example" });
});
