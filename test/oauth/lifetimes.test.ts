import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import {
  jane,
  loginRequest,
  newCode,
  open,
  refresh,
  signedIn,
  tokensOf,
  SIGN_IN_MAX_AGE,
  type Authorization,
} from "../support/authorization.ts";
import { startBrokers, type Brokers } from "../support/brokers.ts";
import { PathCookies } from "../support/path-cookies.ts";

let brokers: Brokers;
let of: Authorization;

beforeAll(async () => {
  brokers = await startBrokers();
  ({ of } = brokers);
});
afterAll(() => brokers.close());
beforeEach(() => {
  of.person = jane();
});

describe("lifetimes", () => {
  /** Does `step` as if so many seconds had gone by. Redis keeps its own time, so this shows the checks beside it. */
  async function after<T>(seconds: number, step: () => Promise<T>): Promise<T> {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + seconds * 1000 });
    try {
      return await step();
    } finally {
      vi.useRealTimers();
    }
  }

  it("a code lives a minute", async () => {
    const { redeem } = await newCode(of);
    expect(await after(62, () => redeem())).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
  });

  it("an access token lives ten minutes", async () => {
    const { access } = await signedIn(of);
    expect(await after(599, () => of.server.grantOf(access))).toBeDefined();
    expect(await after(620, () => of.server.grantOf(access))).toBeUndefined();
  });

  it("nothing outlives the sign-in, however often it is refreshed", async () => {
    of.person = jane({ signedInAt: Date.now() - (SIGN_IN_MAX_AGE - 100) * 1000 });
    const { body } = await (await newCode(of)).redeem();
    expect(body["expires_in"]).toBeLessThanOrEqual(100);
    const next = await refresh(of, String(body["refresh_token"]));
    expect(next.body["expires_in"]).toBeLessThanOrEqual(100);
    const { refresh: last } = tokensOf(next);
    expect(await after(120, () => refresh(of, last))).toMatchObject({ status: 400, body: { error: "invalid_grant" } });
    expect(Math.max(...(await lifetimes()))).toBeLessThanOrEqual(SIGN_IN_MAX_AGE + 60);
  });

  it("every key in the store has its end, and stands in docs/store.md", async () => {
    const tokens = await signedIn(of);
    await refresh(of, tokens.refresh);
    await refresh(of, tokens.refresh);
    await open(of, new PathCookies(of.url), loginRequest());
    expect(Math.min(...(await lifetimes()))).toBeGreaterThan(0);

    const table = await readFile(new URL("../../docs/store.md", import.meta.url), "utf8");
    const documented = [...table.matchAll(/^\| `(oauth:[^`]+)`/gm)].map(([, key = ""]) => `rolecall:${key}`);
    const kinds = new Set(
      [...(await brokers.redis.dump()).keys()].map((key) =>
        key.replace(/\{[\w-]{43}\}/, "{GRANT}").replace(/:[\w-]{43}(?=:|$)/, ":HASH"),
      ),
    );
    expect([...kinds].sort()).toEqual(documented.sort());
  });

  async function lifetimes(): Promise<number[]> {
    return [...(await brokers.redis.lifetimes()).values()];
  }
});
