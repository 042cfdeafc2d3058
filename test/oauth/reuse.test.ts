import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { memoryStore } from "../../src/store/memory.ts";
import {
  newCode,
  refresh,
  signedIn,
  startAuthorization,
  token,
  tokensOf,
  type Answer,
  type Authorization,
  type Tokens,
} from "../support/authorization.ts";
import { startBrokers, type Brokers } from "../support/brokers.ts";

let brokers: Brokers;
let of: Authorization;
let other: Authorization;

beforeAll(async () => {
  brokers = await startBrokers();
  ({ of, other } = brokers);
});
afterAll(() => brokers.close());
beforeEach(() => {
  of.reused.length = 0;
  other.reused.length = 0;
});

async function expectDead({ access, refresh: refreshToken }: Tokens): Promise<void> {
  expect(await of.server.grantOf(access)).toBeUndefined();
  expect(await refresh(of, refreshToken)).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
}

/** How often the reuse was reported, by either broker. */
function reports(): number {
  return of.reused.length + other.reused.length;
}

describe("a code used twice", () => {
  it("ends the grant, with what the first use gave", async () => {
    const { redeem } = await newCode(of);
    const first = tokensOf(await redeem());
    expect(await of.server.grantOf(first.access)).toBeDefined();
    expect(await redeem()).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
    await expectDead(first);
    expect(of.reused).toEqual([
      { grantId: expect.any(String) as string, clientId: "rolecall-cli", identity: of.person },
    ]);
    await redeem();
    expect(reports()).toBe(1);
  });

  it("ten times at once: one answer, and that is dead", async () => {
    const { redeem } = await newCode(of);
    const answers = await Promise.all(Array.from({ length: 10 }, () => redeem()));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array<number>(9).fill(400)]);
    await expectDead(tokensOf(winnerOf(answers)));
    expect(reports()).toBe(1);
  });
});

describe("a refresh token used twice (RFC 9700, 4.14.2)", () => {
  it("ends the family: the first, its children, their access tokens", async () => {
    const first = await signedIn(of);
    const second = tokensOf(await refresh(of, first.refresh));
    const third = tokensOf(await refresh(of, second.refresh));
    for (const { access } of [first, second, third]) expect(await of.server.grantOf(access)).toBeDefined();
    expect(await refresh(of, first.refresh)).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
    for (const tokens of [first, second, third]) await expectDead(tokens);
    expect(of.reused).toHaveLength(1);
  });

  it("leaves the person's other sign-ins alone", async () => {
    const laptop = await signedIn(of);
    const desktop = await signedIn(of);
    await refresh(of, laptop.refresh);
    await refresh(of, laptop.refresh);
    await expectDead(laptop);
    expect(await of.server.grantOf(desktop.access)).toBeDefined();
    expect((await refresh(of, desktop.refresh)).status).toBe(200);
  });

  it.each([2, 10, 25])("%i at once, at two brokers: one answer, and its children are dead", async (callers) => {
    const tokens = await signedIn(of);
    const answers = await Promise.all(
      Array.from({ length: callers }, (_, i) => refresh(i % 2 === 0 ? of : other, tokens.refresh)),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array<number>(callers - 1).fill(400)]);
    await expectDead(tokens);
    await expectDead(tokensOf(winnerOf(answers)));
    expect(reports()).toBe(1);
    expect([...of.reused, ...other.reused][0]?.identity).toEqual(of.person);
  });

  it("is refused also where the record of it can't be written", async () => {
    const store = memoryStore();
    const deaf = await startAuthorization(store, { onGrantReused: () => Promise.reject(new Error("no ledger")) });
    try {
      const tokens = await signedIn(deaf);
      await refresh(deaf, tokens.refresh);
      expect((await refresh(deaf, tokens.refresh)).status).toBe(400);
      expect(await deaf.server.grantOf(tokens.access)).toBeUndefined();
      expect(deaf.log.lines.map(({ message }) => message)).toContain("the end of a reused grant could not be recorded");
    } finally {
      await deaf.close();
    }
  });
});

describe("revocation (RFC 7009)", () => {
  it.each<[name: string, which: (tokens: Tokens, old: Tokens) => string]>([
    ["the refresh token", (tokens) => tokens.refresh],
    ["the access token", (tokens) => tokens.access],
    ["a refresh token that was used already", (_tokens, old) => old.refresh],
  ])("by %s ends the whole grant, and is no reuse", async (_name, which) => {
    const old = await signedIn(of);
    const tokens = tokensOf(await refresh(of, old.refresh));
    expect((await token(of, { token: which(tokens, old) }, "token/revocation")).status).toBe(200);
    await expectDead(tokens);
    await expectDead(old);
    expect(reports()).toBe(0);
  });

  it("says nothing of a token that is not there", async () => {
    expect((await token(of, { token: "unknown" }, "token/revocation")).status).toBe(200);
  });
});

function winnerOf(answers: readonly Answer[]): Answer {
  const winner = answers.find(({ status }) => status === 200);
  if (winner === undefined) throw new Error("nobody won");
  return winner;
}
