import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { parseBrokerUrl } from "./broker-url.ts";
import { CommandFailure } from "./failure.ts";
import { ensurePrivateFolder, readPrivateJson, writePrivateJson } from "./private-file.ts";

/**
 * Where one broker's files lie. A folder each, so that a damaged file of one broker takes nothing from another:
 *
 *     ~/.rolecall/settings.json                 the broker that login or configure named last
 *     ~/.rolecall/<broker>/tokens.json          the sign-in: refresh token, access token and its end
 *     ~/.rolecall/<broker>/credentials.json     AWS credentials, until they end
 *     ~/.rolecall/<broker>/failure.json         why the last try to get some failed, for those who waited for it
 *     ~/.rolecall/<broker>/refresh.lock         held while tokens or credentials are asked for and written
 *     ~/.rolecall/<broker>/login.lock           held while a browser is open
 */
export interface BrokerFiles {
  readonly broker: string;
  readonly folder: string;
  readonly tokens: string;
  readonly credentials: string;
  readonly failure: string;
  readonly refreshLock: string;
  readonly loginLock: string;
}

/** The files of `broker`, in a folder that exists and is private. */
export function brokerFiles(broker: string): BrokerFiles {
  // Injective, and readable for the usual case: https://rolecall.acme.example -> rolecall.acme.example
  const folder = join(openHome(), encodeURIComponent(broker.replace(/^https:\/\//, "")));
  ensurePrivateFolder(folder);
  return {
    broker,
    folder,
    tokens: join(folder, "tokens.json"),
    credentials: join(folder, "credentials.json"),
    failure: join(folder, "failure.json"),
    refreshLock: join(folder, "refresh.lock"),
    loginLock: join(folder, "login.lock"),
  };
}

/** The folder of all brokers (ROLECALL_HOME, or ~/.rolecall), which exists and is private. */
export function openHome(): string {
  const folder = process.env["ROLECALL_HOME"];
  const home = folder === undefined || folder === "" ? join(homedir(), ".rolecall") : fromCaller(folder);
  ensurePrivateFolder(home);
  return home;
}

/** `path` made absolute from where the user stands: npm changes the folder when it runs rolecall from a checkout. */
export function fromCaller(path: string): string {
  const { npm_package_name: runBy, INIT_CWD: stood } = process.env;
  return resolve(runBy === "rolecall" && stood !== undefined ? stood : process.cwd(), path);
}

/** The broker to talk to: the flag, else ROLECALL_BROKER, else the one that configure or login named last. */
export function chooseBroker(flag: string | undefined): string {
  if (flag !== undefined) return parseBrokerUrl(flag, "--broker");
  const fromEnvironment = process.env["ROLECALL_BROKER"];
  if (fromEnvironment !== undefined && fromEnvironment !== "") {
    return parseBrokerUrl(fromEnvironment, "ROLECALL_BROKER");
  }
  const remembered = readPrivateJson(settingsFile(), parseSettings);
  if (remembered !== undefined) return parseBrokerUrl(remembered.broker, settingsFile());
  throw new CommandFailure("no broker is known", {
    hint: "name it once: rolecall login --broker https://rolecall.acme.example",
    exitCode: 2,
  });
}

/** From now on this broker is taken where no other is named. */
export function rememberBroker(broker: string): void {
  writePrivateJson(settingsFile(), { broker });
}

function settingsFile(): string {
  return join(openHome(), "settings.json");
}

function parseSettings(value: unknown): { broker: string } | undefined {
  if (typeof value !== "object" || value === null || !("broker" in value)) return undefined;
  return typeof value.broker === "string" ? { broker: value.broker } : undefined;
}
