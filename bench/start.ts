import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { startRedis } from "../test/support/redis.ts";
import { writeConfig } from "./config-file.ts";
import { median, rounded, type Figures } from "./measure.ts";
import { residentMegabytes, startBroker, startScript } from "./processes.ts";

const STARTS = 7;

/** From the start of the built broker's process to its first 200 at /readyz, beside a Node.js that only listens. */
export async function start(): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), "rolecall-bench-"));
  const redis = await startRedis();
  const configFile = writeConfig({ folder, stsUrl: "http://127.0.0.1:9", redisUrl: redis.url });
  const times = { ours: [] as number[], floor: [] as number[] };
  const idle: number[] = [];
  try {
    // The first one makes the keys and the ledger.
    for (let i = -1; i < STARTS; i += 1) {
      const begun = performance.now();
      const broker = await startBroker(configFile, "any");
      await untilReady(`${broker.url}/readyz`);
      const ours = performance.now() - begun;
      idle.push(residentMegabytes(broker.pid));
      await broker.close();
      const bare = await startScript("./stub-sts.ts", {}, "any");
      await bare.close();
      if (i < 0) continue;
      times.ours.push(ours);
      times.floor.push(bare.startedIn);
    }
  } finally {
    await redis.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  const [ours, floor] = [median(times.ours), median(times.floor)];
  return {
    name: "start",
    unit: "ms",
    ours: rounded(ours),
    floor: rounded(floor),
    ratio: rounded(ours / floor),
    comparedWith: "a start of Node.js that only listens",
    residentMegabytesIdle: median(idle),
  };
}

async function untilReady(url: string): Promise<void> {
  while ((await fetch(url)).status !== 200) await delay(5);
}
