import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { SessionStore } from "../src/http/sessions.ts";
import { findAccess } from "../src/oauth/adapter.ts";
import { startRedis } from "../test/support/redis.ts";
import { median, rounded, type Figures } from "./measure.ts";
import { inBatches, LIFE, openWorkforce, person, type Workforce } from "./workforce.ts";

const FEW = 1_000;
const MANY = 100_000;
const BROWSERS = 10_000;
const READS = 3_000;

/**
 * What somebody who is signed in takes in Redis (twenty groups), and how long it takes to find who is behind an access
 * token: with 100,000 people signed in, beside 1,000.
 */
export async function sessions(): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), "rolecall-bench-"));
  const redis = await startRedis();
  const client = new Redis(redis.url);
  const workforce = await openWorkforce(folder, redis.url);
  try {
    await workforce.grantTokens(person(0));
    const empty = await memoryOf(client);
    const few = await inBatches(FEW, (i) => workforce.grantTokens(person(i)));
    // Warms up.
    await medianRead(workforce, few);
    const floor = await medianRead(workforce, few);
    const all = [...few, ...(await inBatches(MANY - FEW, (i) => workforce.grantTokens(person(FEW + i))))];
    const full = await memoryOf(client);
    const ours = await medianRead(workforce, all);
    await inBatches(BROWSERS, (i) => keepBrowserSession(workforce, i));
    const withBrowsers = await memoryOf(client);
    return {
      name: "sessions",
      unit: "µs a look-up",
      ours: rounded(ours),
      floor: rounded(floor),
      ratio: rounded(ours / floor),
      comparedWith: `the same with ${FEW} people signed in instead of ${MANY}`,
      bytesPerCommandLine: Math.round((full - empty) / MANY),
      bytesPerBrowser: Math.round((withBrowsers - full) / BROWSERS),
    };
  } finally {
    client.disconnect();
    await workforce.close();
    await redis.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function memoryOf(client: Redis): Promise<number> {
  const [, bytes = ""] = /used_memory:(\d+)/.exec(await client.info("memory")) ?? [];
  return Number(bytes);
}

/** Microseconds. */
async function medianRead({ store, grants }: Workforce, tokens: readonly string[]): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < READS; i += 1) {
    const token = tokens[Math.floor(Math.random() * tokens.length)] ?? "";
    const begun = performance.now();
    if ((await findAccess(store, grants, token)) === undefined) throw new Error("a token that was kept is not found");
    times.push((performance.now() - begun) * 1000);
  }
  return median(times);
}

async function keepBrowserSession({ store }: Workforce, i: number): Promise<void> {
  const sessions = new SessionStore(store, {
    baseUrl: "http://127.0.0.1:4400",
    signInMaxAgeSeconds: LIFE,
    cookieKeys: () => ["bench"],
    now: Date.now,
  });
  const cookie = { originalMaxAge: null, httpOnly: true, path: "/", sameSite: "lax", secure: false };
  await new Promise<void>((resolve, reject) => {
    sessions.set(`browser-${i}`, { cookie, identity: person(i) } as never, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(error instanceof Error ? error : new Error("the session was not kept"));
    });
  });
}
