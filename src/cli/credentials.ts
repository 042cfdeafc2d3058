import {
  credentialProcessLine,
  ENOUGH_SECONDS,
  parseAwsCredentials,
  secondsLeft,
  type AwsCredentials,
} from "./aws-credentials.ts";
import { BrokerUnavailable, CommandFailure } from "./failure.ts";
import { brokerFiles, chooseBroker, type BrokerFiles } from "./home.ts";
import { readPrivateJson, removePrivateFile, writePrivateJson } from "./private-file.ts";
import { say, tellTerminal } from "./terminal.ts";

/** Longer than whoever holds the lock may need for its requests, shorter than the 60 s that the Go SDK waits. */
const LOCK_SECONDS = 50;

/** With less left than this, credentials are not worth handing out even when no others can be had. */
const LAST_RESORT_SECONDS = 60;

/**
 * The credential_process: one line of JSON on stdout, with at least 15 minutes left whenever the broker can give such
 * credentials, and nothing else there. stdin is never read and a browser never opened.
 */
export async function credentials(options: { broker?: string; profile?: string }): Promise<void> {
  try {
    const files = brokerFiles(await chooseFor(options));
    process.stdout.write(credentialProcessLine(await obtain(files)));
  } catch (error) {
    if (error instanceof CommandFailure) tellTerminal(error);
    throw error;
  }
}

async function chooseFor(options: { broker?: string; profile?: string }): Promise<string> {
  if (options.broker !== undefined || options.profile === undefined) return chooseBroker(options.broker);
  const { brokerOfProfile } = await import("./configure.ts");
  return brokerOfProfile(options.profile);
}

/** From the cache without lock or network where enough time is left; else one process asks and the others wait. */
async function obtain(files: BrokerFiles): Promise<AwsCredentials> {
  const began = Date.now();
  const kept = readPrivateJson(files.credentials, parseAwsCredentials);
  if (kept !== undefined && secondsLeft(kept, began) >= ENOUGH_SECONDS) return kept;
  const { withLock } = await import("./lock.ts");
  const wait = { seconds: LOCK_SECONDS, timedOut: "another rolecall has been asking for credentials for too long" };
  return await withLock(files.refreshLock, wait, () => obtainAlone(files, began));
}

/** With the lock held. Whatever another process got, or failed to get, since we began is ours too. */
async function obtainAlone(files: BrokerFiles, began: number): Promise<AwsCredentials> {
  const kept = readPrivateJson(files.credentials, parseAwsCredentials);
  if (kept !== undefined && secondsLeft(kept, Date.now()) >= ENOUGH_SECONDS) return kept;
  try {
    throwFailureSince(files, began);
    return await ask(files);
  } catch (error) {
    if (!(error instanceof BrokerUnavailable)) throw error;
    if (kept !== undefined && secondsLeft(kept, Date.now()) > LAST_RESORT_SECONDS) {
      say(`rolecall: warning: ${error.message}; the credentials handed out end at ${kept.Expiration}`);
      return kept;
    }
    throw error;
  }
}

async function ask(files: BrokerFiles): Promise<AwsCredentials> {
  const [{ withAccessToken }, { requestCredentials }] = await Promise.all([
    import("./tokens.ts"),
    import("./broker-api.ts"),
  ]);
  try {
    const fresh = await withAccessToken(files, (accessToken) => requestCredentials(files.broker, accessToken));
    keep(files, fresh);
    return fresh;
  } catch (error) {
    if (error instanceof BrokerUnavailable) noteFailure(files, error);
    throw error;
  }
}

/** A full disk takes nothing from a caller who has the credentials already. */
function keep(files: BrokerFiles, fresh: AwsCredentials): void {
  try {
    writePrivateJson(files.credentials, fresh);
    removePrivateFile(files.failure);
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    say(`rolecall: warning: ${error.message}; the credentials are not kept for the next call`);
  }
}

interface NotedFailure {
  readonly at: number;
  readonly message: string;
  readonly hint: string | undefined;
}

/** So that twenty waiting processes fail with the first one, and not one time limit after the other. */
function noteFailure(files: BrokerFiles, { message, hint }: BrokerUnavailable): void {
  try {
    writePrivateJson(files.failure, { at: Date.now(), message, hint });
  } catch (error) {
    // The broker's failure is the one to tell, and what is kept may still be handed out.
    if (!(error instanceof CommandFailure)) throw error;
  }
}

function throwFailureSince(files: BrokerFiles, began: number): void {
  const noted = readPrivateJson(files.failure, parseFailure);
  if (noted === undefined || noted.at < began || noted.at > Date.now()) return;
  throw new BrokerUnavailable(noted.message, { hint: noted.hint });
}

function parseFailure(value: unknown): NotedFailure | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { at, message, hint } = value as Record<string, unknown>;
  if (typeof at !== "number" || typeof message !== "string") return undefined;
  return { at, message, hint: typeof hint === "string" ? hint : undefined };
}
