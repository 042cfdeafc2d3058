import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startRedis } from "../test/support/redis.ts";
import { load, type Round } from "./load.ts";
import { median, rounded, type Figures } from "./measure.ts";
import { leaveMeasuredCore, residentMegabytes, startBroker, startScript } from "./processes.ts";
import { signInEverybody, writeConfig } from "./workforce.ts";

const PEOPLE = 10_000;
const CLIENTS = 64;
const ROUNDS = 5;
const ROUND_SECONDS = 4;

/**
 * Credentials a second of one broker on one core (64 clients, 10,000 people signed in, Redis, SQLite on the disk, a
 * stand-in for STS that answers without checking, all but the broker on the other core) beside a bare handler on the
 * same core that does only what nobody can avoid.
 */
export async function issue(): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), "rolecall-bench-"));
  leaveMeasuredCore();
  const redis = await startRedis();
  const sts = await startScript("./stub-sts.ts", {}, "any");
  const closing: { close(): Promise<void> }[] = [sts, { close: () => redis.stop() }];
  try {
    const configFile = writeConfig({ folder, stsUrl: sts.url, redisUrl: redis.url });
    const tokens = await signInEverybody({ folder, people: PEOPLE, redisUrl: redis.url });
    const broker = await startBroker(configFile);
    closing.unshift(broker);
    const settings = { redisUrl: redis.url, stsUrl: sts.url, file: join(folder, "bare.db") };
    const bare = await startScript("./bare-handler.ts", settings, "measured");
    closing.unshift(bare);

    const rounds = { ours: [] as Round[], floor: [] as Round[] };
    for (let i = -1; i < ROUNDS; i += 1) {
      for (const [side, server] of [["floor", bare], ["ours", broker]] as const) {
        const round = await load({ urls: [server.url], tokens, clients: CLIENTS, seconds: ROUND_SECONDS });
        // The first one warms up.
        if (i >= 0) rounds[side].push(round);
      }
    }
    const of = (side: "ours" | "floor", key: keyof Round): number => rounded(median(rounds[side].map((it) => it[key])));
    const [ours, floor] = [of("ours", "perSecond"), of("floor", "perSecond")];
    return {
      name: "issue",
      unit: "credentials/s",
      ours,
      floor,
      ratio: rounded(ours / floor),
      comparedWith: "a bare handler that does only the unavoidable",
      p50: of("ours", "p50"),
      p99: of("ours", "p99"),
      floorP50: of("floor", "p50"),
      floorP99: of("floor", "p99"),
      residentMegabytes: residentMegabytes(broker.pid),
    };
  } finally {
    for (const it of closing) await it.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
