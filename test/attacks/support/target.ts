import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { parse, stringify } from "yaml";
import { startBroker } from "../../../src/app.ts";
import type { Config } from "../../../src/config/config.ts";
import { loadConfig } from "../../../src/config/load.ts";
import type { ReasonCode } from "../../../src/flow/errors.ts";
import type { Log } from "../../../src/flow/ports.ts";
import { readEntries } from "../../../src/ledger/log-reader.ts";
import type { LedgerEntry } from "../../../src/ledger/row.ts";
import { readSqlite } from "../../../src/ledger/sqlite.ts";
import { template } from "../../../src/operator/template.ts";
import { writeDemoConfig } from "../../../src/sandbox/demo-config.ts";
import type { StandInId } from "../../../src/sandbox/idp.ts";
import { ledgerFileIn } from "../../../src/sandbox/sandbox.ts";
import { startSts, type SandboxSts } from "../../../src/sandbox/sts.ts";
import { startHostileIdp, type HostileIdp } from "../../support/hostile-idp.ts";
import { recordingLog, type LogLine } from "../../support/log.ts";
import { TENANT } from "../../support/provider-config.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";

/** A whole broker to attack, from its configuration file to Redis, with identity providers that do as the attacker says. */
export interface Target {
  readonly url: string;
  readonly folder: string;
  readonly config: Config;
  readonly configFile: string;
  readonly redis: TestRedis;
  readonly aws: SandboxSts;
  readonly idps: Readonly<Record<StandInId, HostileIdp>>;
  readonly logged: readonly LogLine[];
  /** Another broker on the same folder and the same Redis, for as long as the target; where it listens. */
  second(): Promise<{ readonly url: string }>;
  rows(): Promise<LedgerEntry[]>;
  /** What `work` gives, and the rows that the ledger has more than before. */
  recorded<T>(work: () => Promise<T>): Promise<{ answer: T; rows: LedgerEntry[] }>;
  /** How many refusals with this reason stand in `/metrics`. */
  counted(reason: ReasonCode): Promise<number>;
  close(): Promise<void>;
}

export interface TargetOptions {
  /** Fields of rolecall.yaml in place of the demo's. */
  readonly config?: (demo: { readonly tags: object; readonly providers: readonly object[] }) => object;
  /** Beside rolecall.yaml, by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** Starts the broker; left out: in this process. */
  readonly start?: (config: Config, log: Log, configFile: string) => Promise<{ close(): Promise<void> }>;
}

const inThisProcess: Required<TargetOptions>["start"] = (config, log) => startBroker(config, log);

export async function startTarget({
  config: changes,
  files = {},
  start = inThisProcess,
}: TargetOptions = {}): Promise<Target> {
  const folder = await mkdtemp(join(tmpdir(), "rolecall-attack-"));
  const log = recordingLog();
  const [port, awsPort, redis] = [await freePort(), await freePort(), await startRedis()];
  const url = `http://127.0.0.1:${port}`;
  const idps = {
    okta: await startHostileIdp({ id: "okta", emailDomains: ["acme.example"] }),
    entra: await startHostileIdp(
      { id: "entra", kind: "entra", emailDomains: ["emea.acme.example"] },
      `/${TENANT}/v2.0`,
    ),
    auth0: await startHostileIdp({ id: "auth0", kind: "auth0", emailDomains: ["labs.acme.example"] }),
  };
  const configFile = await writeDemoConfig({
    folder,
    baseUrl: url,
    port,
    stsEndpoint: `http://127.0.0.1:${awsPort}`,
    providers: Object.entries(idps).map(([id, idp]) => asStandIn(id as StandInId, idp)),
    redisUrl: redis.url,
  });
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  if (changes) {
    const demo = parse(await readFile(configFile, "utf8")) as { tags: object; providers: object[] };
    await writeFile(configFile, stringify({ ...demo, ...changes(demo) }));
  }
  const config = loadConfig(configFile, {});
  const aws = await startSts({ trust: template("aws/role", config), port: awsPort });
  const brokers: { close(): Promise<void> }[] = [await start(config, log, configFile)];
  // One for all: opening it takes longer than a whole sign-in.
  const reader = readSqlite(ledgerFileIn(folder));
  const rows = (): Promise<LedgerEntry[]> => Array.fromAsync(readEntries(reader));
  return {
    url,
    folder,
    config,
    configFile,
    redis,
    aws,
    idps,
    logged: log.lines,
    async second() {
      const other = await startBroker({ ...config, listen: { host: "127.0.0.1", port: 0 } }, log);
      brokers.push(other);
      return { url: `http://127.0.0.1:${other.port}` };
    },
    rows,
    async recorded(work) {
      const before = (await rows()).length;
      const answer = await work();
      return { answer, rows: (await rows()).slice(before) };
    },
    async counted(reason) {
      const text = await (await fetch(`${url}/metrics`)).text();
      return Number(new RegExp(`^rolecall_refusals_total\\{reason="${reason}"\\} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
    },
    async close() {
      await reader.destroy();
      for (const broker of brokers) await broker.close();
      await Promise.all([aws.close(), ...Object.values(idps).map((idp) => idp.close())]);
      await redis.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function asStandIn(
  id: StandInId,
  { provider, issuer }: HostileIdp,
): Parameters<typeof writeDemoConfig>[0]["providers"][0] {
  const { label, clientId, clientAuth, emailDomains } = provider;
  if (provider.kind === "generic" || clientAuth.method === "private_key_jwt") throw new Error("no stand-in is so");
  return {
    id,
    kind: provider.kind,
    label,
    issuer,
    clientId,
    clientAuth: clientAuth.method,
    clientSecret: clientAuth.secret,
    emailDomain: emailDomains[0] ?? "",
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}
