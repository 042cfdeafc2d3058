import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startPostgres } from "../test/support/postgres.ts";
import { startRedis } from "../test/support/redis.ts";
import { writeConfig } from "./config-file.ts";
import { load, type Round } from "./load.ts";
import { median, rounded, type Figures } from "./measure.ts";
import {
  cpuMicroseconds,
  leaveMeasuredCore,
  residentMegabytes,
  startBroker,
  startScript,
  useAllCores,
  type ServerProcess,
} from "./processes.ts";
import { signInEverybody } from "./workforce.ts";

const PEOPLE = 10_000;
const CLIENTS = 64;
const ROUNDS = 5;
const ROUND_SECONDS = 4;

interface MeasuredRound extends Round {
  /** Processor time of one answer (microseconds). */
  readonly cpu: number;
}

/** Everything around a broker: 10,000 people signed in, and a stand-in for STS that answers without checking. */
export interface Surroundings {
  readonly tokens: readonly string[];
  readonly configFile: string;
  readonly folder: string;
  readonly redisUrl: string;
  readonly stsUrl: string;
  /** Closes what was added, from the last to the first, with everything else. */
  readonly closing: { close(): Promise<void> }[];
}

/**
 * Credentials a second of one broker on one core (64 clients, Redis, SQLite on the disk, all but the broker on the
 * other core) beside a bare handler on the same core that does only what nobody can avoid.
 */
export async function issue(): Promise<Figures> {
  leaveMeasuredCore();
  return await surrounded("sqlite", async (around) => await besideBareHandler("issue", around));
}

/** As above, with the ledger in PostgreSQL, on the other core; the bare handler keeps SQLite. */
export async function issuePostgres(): Promise<Figures> {
  leaveMeasuredCore();
  return await surrounded("postgres", async (around) => await besideBareHandler("issue-postgres", around));
}

/** Two brokers over one PostgreSQL beside one of them, everything on every core. */
export async function issueTwo(): Promise<Figures> {
  useAllCores();
  return await surrounded("postgres", async ({ configFile, tokens, closing }) => {
    const brokers: ServerProcess[] = [];
    for (let i = 0; i < 2; i += 1) {
      const broker = await startBroker(configFile, "any");
      brokers.push(broker);
      closing.push(broker);
    }
    const [first] = brokers;
    const rounds = await alternateRounds(tokens, { ours: brokers, floor: first ? [first] : [] });
    return figuresOf("issue-two", "one broker alone, on the same cores", rounds);
  });
}

async function besideBareHandler(name: string, around: Surroundings): Promise<Figures> {
  const { configFile, folder, redisUrl, stsUrl, closing, tokens } = around;
  const broker = await startBroker(configFile);
  closing.push(broker);
  const settings = { redisUrl, stsUrl, file: join(folder, "bare.db") };
  const bare = await startScript("./bare-handler.ts", settings, "measured");
  closing.push(bare);
  const rounds = await alternateRounds(tokens, { ours: [broker], floor: [bare] });
  const figures = figuresOf(name, "a bare handler that does only the unavoidable", rounds);
  return { ...figures, residentMegabytes: residentMegabytes(broker.pid) };
}

/** Runs `work` with everybody signed in, and takes all of it away after. */
export async function surrounded<T>(
  ledger: "sqlite" | "postgres",
  work: (around: Surroundings) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "rolecall-bench-"));
  const closing: Surroundings["closing"] = [];
  try {
    const redis = await startRedis();
    closing.push({ close: () => redis.stop() });
    const sts = await startScript("./stub-sts.ts", {}, "any");
    closing.push(sts);
    const ledgerUrl = ledger === "postgres" ? await postgresUrl(closing) : undefined;
    const configFile = writeConfig({ folder, stsUrl: sts.url, redisUrl: redis.url, ledgerUrl });
    const tokens = await signInEverybody({ folder, people: PEOPLE, redisUrl: redis.url, ledgerUrl });
    return await work({ tokens, configFile, folder, redisUrl: redis.url, stsUrl: sts.url, closing });
  } finally {
    for (const it of closing.toReversed()) await it.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** With its disk waited for, unlike in the tests. */
async function postgresUrl(closing: Surroundings["closing"]): Promise<string> {
  const postgres = await startPostgres({ fsync: true });
  closing.push({ close: () => postgres.remove() });
  return (await postgres.database()).broker;
}

async function alternateRounds(
  tokens: readonly string[],
  servers: Record<"ours" | "floor", readonly ServerProcess[]>,
): Promise<Record<"ours" | "floor", MeasuredRound[]>> {
  const rounds = { ours: [] as MeasuredRound[], floor: [] as MeasuredRound[] };
  const cpuOf = (side: "ours" | "floor"): number =>
    servers[side].reduce((sum, { pid }) => sum + cpuMicroseconds(pid), 0);
  for (let i = -1; i < ROUNDS; i += 1) {
    for (const side of ["floor", "ours"] as const) {
      const before = cpuOf(side);
      const urls = servers[side].map(({ url }) => url);
      const round = await load({ urls, tokens, clients: CLIENTS, seconds: ROUND_SECONDS });
      const cpu = (cpuOf(side) - before) / round.answers;
      // The first one warms up.
      if (i >= 0) rounds[side].push({ ...round, cpu });
    }
  }
  return rounds;
}

function figuresOf(
  name: string,
  comparedWith: string,
  rounds: Record<"ours" | "floor", readonly MeasuredRound[]>,
): Figures {
  const of = (side: "ours" | "floor", key: keyof MeasuredRound): number =>
    rounded(median(rounds[side].map((round) => round[key])));
  const [ours, floor] = [of("ours", "perSecond"), of("floor", "perSecond")];
  return {
    name,
    unit: "credentials/s",
    ours,
    floor,
    ratio: rounded(ours / floor),
    comparedWith,
    p50: of("ours", "p50"),
    p99: of("ours", "p99"),
    floorP50: of("floor", "p50"),
    floorP99: of("floor", "p99"),
    cpuMicroseconds: of("ours", "cpu"),
    floorCpuMicroseconds: of("floor", "cpu"),
  };
}
