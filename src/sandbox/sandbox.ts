import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { startBroker } from "../app.ts";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import type { Log } from "../flow/ports.ts";
import { configuredSamlMetadata } from "../operator/saml-metadata.ts";
import { template } from "../operator/template.ts";
import { writeDemoConfig } from "./demo-config.ts";
import { startIdentityProviders, type StandInId, type StandInOptions, type StandInProvider } from "./idp.ts";
import { startSts, type SandboxSts } from "./sts.ts";

type StartBroker = (config: Config, log: Log, configFile: string) => Promise<{ close(): Promise<void> }>;

const inThisProcess: StartBroker = (config, log) => startBroker(config, log);

/** A port each; 0: any that is free. */
export interface SandboxPorts {
  readonly broker: number;
  readonly aws: number;
  readonly okta: number;
  readonly entra: number;
  readonly auth0: number;
}

/** Everything between a sign-in and AWS, on this machine: three identity providers (each by OIDC and by SAML), a broker, STS and Bedrock. */
export interface Sandbox {
  readonly config: Config;
  readonly configFile: string;
  readonly providers: readonly StandInProvider[];
  readonly aws: SandboxSts;
  close(): Promise<void>;
}

/**
 * Starts them all, with the broker on its embedded defaults (memory, SQLite) in `folder`. The identity providers are
 * on `localhost` and the broker on `127.0.0.1`, so that they are two sites to a browser.
 */
export async function startSandbox(options: {
  readonly folder: string;
  readonly ports: SandboxPorts;
  readonly log: Log;
  /** How the broker asks AWS; left out: web-identity. */
  readonly federation?: Config["aws"]["federation"];
  /** Left out: the in-memory store. */
  readonly redisUrl?: string;
  /** Left out: the broker runs in this process. */
  readonly start?: StartBroker;
  /** Epoch milliseconds, as AWS has it; left out: the machine's clock. */
  readonly now?: () => number;
  /** How long AWS keeps the published keys; left out: not at all. */
  readonly jwksCacheSeconds?: number;
}): Promise<Sandbox> {
  const { folder, ports, log, federation = "web-identity", redisUrl, start = inThisProcess } = options;
  const { now = Date.now, jwksCacheSeconds = 0 } = options;
  const port = ports.broker === 0 ? await freePort() : ports.broker;
  const awsPort = ports.aws === 0 ? await freePort() : ports.aws;
  const baseUrl = `http://127.0.0.1:${port}`;
  const standIn = (id: StandInId): StandInOptions => ({
    redirectUris: [`${baseUrl}/login/${id}/callback`],
    port: ports[id],
    serviceProviderUrl: `${baseUrl}/login/${id}-saml/metadata`,
  });
  const running: { close(): Promise<void> }[] = [];
  const close = async (): Promise<void> => {
    for (const part of running.reverse()) await part.close();
  };
  try {
    const { okta, entra, auth0 } = await startIdentityProviders({
      okta: standIn("okta"),
      entra: standIn("entra"),
      auth0: standIn("auth0"),
    });
    const providers = [okta, entra, auth0];
    running.push(...providers);
    const stsEndpoint = `http://127.0.0.1:${awsPort}`;
    const configFile = await writeDemoConfig({ folder, baseUrl, port, stsEndpoint, providers, federation, redisUrl });
    const config = loadConfig(configFile, {});
    running.push(await start(config, log, configFile));
    // By SAML, AWS is given the metadata of a key that the broker's first start makes.
    const trust = template("aws/role", config, await configuredSamlMetadata(config));
    const aws = await startSts({ trust, port: awsPort, now, jwksCacheSeconds });
    // It goes last, as the broker may be asking it until then.
    running.unshift(aws);
    return { config, configFile, providers, aws, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The record of a sandbox whose files are in `folder`. */
export function ledgerFileIn(folder: string): string {
  return join(folder, "ledger.db");
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
