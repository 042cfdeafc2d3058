import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { loadConfig } from "../../src/config/load.ts";
import type { LedgerPlace } from "../../src/ledger/place.ts";
import { template } from "../../src/operator/template.ts";
import { writeDemoConfig } from "../../src/sandbox/demo-config.ts";
import { startIdentityProvider, type StandInId, type StandInProvider } from "../../src/sandbox/idp.ts";
import { startSts, type SandboxSts } from "../../src/sandbox/sts.ts";
import { startPostgres, type TestDatabase, type TestPostgres } from "../support/postgres.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { startProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { Fleet } from "./fleet.ts";

export type LedgerKind = "sqlite" | "postgres";

/** Everything that a broker talks to, and who talks to it: each over a network of its own, which can break. */
export type LinkName = "redis" | "postgres" | "sts" | "clients" | StandInId;

/** The company around one or two brokers that are processes of their own, with everything that can be broken. */
export interface Site {
  readonly baseUrl: string;
  /** Where a sign-in of the command line ends: a page that is always there. */
  readonly redirectUri: string;
  readonly folder: string;
  readonly links: Readonly<Record<LinkName, TcpProxy>>;
  readonly redis: TestRedis;
  /** How often Redis came back empty: sessions from before are gone then, and nobody is to blame. */
  losses: number;
  readonly postgres: TestPostgres | undefined;
  readonly database: TestDatabase | undefined;
  readonly sts: SandboxSts;
  readonly providers: readonly StandInProvider[];
  readonly fleet: Fleet;
  readonly place: LedgerPlace;
  close(): Promise<void>;
}

const PROVIDERS: readonly StandInId[] = ["okta", "entra", "auth0"];
/** The one whose claims get stale at once, so that it is asked again at every other issue. */
export const ASKED_AGAIN: StandInId = "okta";
const NO_LIMITS = { perAddress: 1_000_000, perAccount: 1_000_000, signInsUnderWay: 10_000_000 };

/** Starts one, with `brokers` processes, their record in a database of the kind `ledger`. */
export async function startSite(ledger: LedgerKind, brokers: number): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), "rolecall-chaos-"));
  const closers: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
  const close = async (): Promise<void> => {
    for (let last = closers.pop(); last !== undefined; last = closers.pop()) await last();
  };
  const link = async (target: () => number): Promise<TcpProxy> => {
    const proxy = await startProxy(target);
    closers.push(() => proxy.cut());
    return proxy;
  };
  try {
    const fleet = new Fleet(join(folder, "chaos.yaml"));
    const clients = await link(() => fleet.nextPort());
    const baseUrl = `http://127.0.0.1:${clients.port}`;

    const redis = await startRedis();
    closers.push(() => redis.stop());
    const postgres = ledger === "postgres" ? await startPostgres() : undefined;
    if (postgres) closers.push(() => postgres.remove());
    const database = await postgres?.database();

    const idpLinks = {} as Record<StandInId, TcpProxy>;
    const providers: StandInProvider[] = [];
    for (const id of PROVIDERS) {
      const port = (): number => providers.find((it) => it.id === id)?.port ?? 0;
      const proxy = (idpLinks[id] = await link(port));
      const redirectUris = [`${baseUrl}/login/${id}/callback`];
      const started = await startIdentityProvider(id, { redirectUris, publicPort: proxy.port });
      closers.push(() => started.close());
      providers.push(started);
    }

    let stsPort = 0;
    const links = {
      clients,
      redis: await link(() => redis.port),
      postgres: await link(() => postgres?.port ?? 0),
      sts: await link(() => stsPort),
      ...idpLinks,
    };
    const configFile = await writeConfig(folder, {
      baseUrl,
      clients: clients.port,
      links,
      providers,
      database,
      postgres,
    });
    const sts = await startSts({ trust: template("aws/role", loadConfig(configFile, {})) });
    closers.push(() => sts.close());
    stsPort = sts.port;

    const landing = await startLandingPage();
    closers.push(landing.close);
    await fleet.start(brokers);
    closers.push(() => fleet.end());
    const place = database ? { url: database.broker } : { file: join(folder, "ledger.db") };
    const { redirectUri } = landing;
    return {
      baseUrl,
      redirectUri,
      folder,
      links,
      redis,
      losses: 0,
      postgres,
      database,
      sts,
      providers,
      fleet,
      place,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Surroundings {
  readonly baseUrl: string;
  readonly clients: number;
  readonly links: Readonly<Record<LinkName, TcpProxy>>;
  readonly providers: readonly StandInProvider[];
  readonly database: TestDatabase | undefined;
  readonly postgres: TestPostgres | undefined;
}

/** The made-up company's configuration, with every address the near end of a link. Returns the file's path. */
async function writeConfig(folder: string, around: Surroundings): Promise<string> {
  const { baseUrl, links, providers, database, postgres } = around;
  const demo = await writeDemoConfig({
    folder,
    baseUrl,
    port: around.clients,
    stsEndpoint: `http://127.0.0.1:${links.sts.port}`,
    providers,
    redisUrl: `redis://127.0.0.1:${links.redis.port}`,
  });
  const config = parse(await readFile(demo, "utf8")) as { providers: { id: string; claimsMaxAge: string }[] };
  for (const provider of config.providers) if (provider.id === ASKED_AGAIN) provider.claimsMaxAge = "2s";
  const ledger = { url: { file: "ledger.url" } };
  if (database && postgres) {
    const url = database.broker.replace(`:${postgres.port}/`, `:${links.postgres.port}/`);
    await writeFile(join(folder, "ledger.url"), url, { mode: 0o600 });
  }
  const file = join(folder, "chaos.yaml");
  const changes = { listen: "127.0.0.1:0", rateLimits: NO_LIMITS, ...(database && { ledger }) };
  await writeFile(file, stringify({ ...config, ...changes }));
  return file;
}

/** What stands at the command line's loopback redirect. */
async function startLandingPage(): Promise<{ redirectUri: string; close: () => Promise<void> }> {
  const server = createServer((_req, res) => {
    res.end("you may close this window");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  };
  return { redirectUri: `http://127.0.0.1:${port}/callback`, close };
}
