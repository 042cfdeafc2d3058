import { readdirSync } from "node:fs";
import { join } from "node:path";
import { parseAwsCredentials, secondsLeft } from "./aws-credentials.ts";
import { CommandFailure } from "./failure.ts";
import { brokerFiles, chooseBroker, type BrokerFiles } from "./home.ts";
import { withLock } from "./lock.ts";
import { readPrivateJson, removePrivateFile } from "./private-file.ts";
import { print, say } from "./terminal.ts";
import { readTokens } from "./tokens.ts";

/**
 * Ends the sign-in at the broker, and removes tokens and AWS credentials from this machine whether or not the broker
 * could be told; if it could not, a CommandFailure says so.
 */
export async function logout(options: { broker?: string }): Promise<void> {
  const files = brokerFiles(chooseBroker(options.broker));
  const wait = { seconds: 60, timedOut: "another rolecall has been asking for credentials for too long" };
  await withLock(files.refreshLock, wait, () => endSignIn(files));
}

async function endSignIn(files: BrokerFiles): Promise<void> {
  const tokens = readTokens(files);
  const credentials = readPrivateJson(files.credentials, parseAwsCredentials);
  // First what is sure to work: a broker that hangs must not leave a sign-in behind on a laptop.
  const removed = removeKept(files.folder);
  if (credentials !== undefined && secondsLeft(credentials, Date.now()) > 0) {
    say(`note: AWS credentials that a program took already stay valid until ${credentials.Expiration}`);
  }
  if (tokens === undefined) {
    print(removed ? `removed what was kept of ${files.broker}` : `you were not signed in at ${files.broker}`);
    return;
  }
  await revokeAtBroker(files.broker, tokens.refreshToken);
  print(`signed out of ${files.broker}`);
}

/** All but the locks (and the journal that SQLite lays beside one), with what a killed process may have left half written; true where there was anything. */
function removeKept(folder: string): boolean {
  const kept = readdirSync(folder).filter((name) => !name.includes(".lock"));
  for (const name of kept) removePrivateFile(join(folder, name));
  return kept.length > 0;
}

async function revokeAtBroker(broker: string, refreshToken: string): Promise<void> {
  const { revoke } = await import("./oauth.ts");
  try {
    await revoke(broker, refreshToken);
  } catch (error) {
    const why = error instanceof CommandFailure ? error.message : "unexpected error";
    throw new CommandFailure(`signed out on this machine only, because the broker could not be told: ${why}`, {
      hint: "a copy of the sign-in, if there is one, works until it ends by itself; if that matters, tell the people who run Rolecall",
      cause: error,
    });
  }
}
