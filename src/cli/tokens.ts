import type { BrokerFiles } from "./home.ts";
import { BrokerRefusal, NotSignedIn } from "./failure.ts";
import type { Tokens } from "./oauth.ts";
import { readPrivateJson, removePrivateFile, writePrivateJson } from "./private-file.ts";

/** An access token with less left than this is renewed first: it has a way to go, and clocks differ. */
const SPARE_MILLISECONDS = 60_000;

/** The sign-in that is kept for this broker; undefined: none, or unreadable (with a warning). */
export function readTokens(files: BrokerFiles): Tokens | undefined {
  return readPrivateJson(files.tokens, parseTokens);
}

export function writeTokens(files: BrokerFiles, tokens: Tokens): void {
  writePrivateJson(files.tokens, tokens);
}

/**
 * What `call` returns with a valid access token. A token that is about to end, or that the broker no longer knows, is
 * renewed first, once. The caller holds the refresh lock: two uses of one refresh token end the sign-in. Throws
 * NotSignedIn, or what `call` throws.
 */
export async function withAccessToken<T>(files: BrokerFiles, call: (accessToken: string) => Promise<T>): Promise<T> {
  const tokens = readTokens(files);
  if (tokens === undefined) throw new NotSignedIn(`you are not signed in at ${files.broker}`, files.broker);
  if (tokens.accessTokenEnds - Date.now() > SPARE_MILLISECONDS) {
    try {
      return await call(tokens.accessToken);
    } catch (error) {
      if (!(error instanceof BrokerRefusal && error.code === "token_invalid")) throw error;
    }
  }
  return await call((await renew(files, tokens)).accessToken);
}

/**
 * New tokens, on disk before anybody uses them. One window is left: a process killed after the broker took the old
 * refresh token and before the new one is on disk leaves the old one behind; the broker takes its next use for a
 * replay, ends the sign-in, and the person signs in again.
 */
async function renew(files: BrokerFiles, tokens: Tokens): Promise<Tokens> {
  const { refresh } = await import("./oauth.ts");
  try {
    const renewed = { ...tokens, ...(await refresh(files.broker, tokens.refreshToken)) };
    writeTokens(files, renewed);
    return renewed;
  } catch (error) {
    // Of no more use: the next call then says so at once, without asking.
    if (error instanceof NotSignedIn) removePrivateFile(files.tokens);
    throw error;
  }
}

function parseTokens(value: unknown): Tokens | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { refreshToken, accessToken, accessTokenEnds, signedInAt } = value as Record<string, unknown>;
  if (typeof refreshToken !== "string" || typeof accessToken !== "string") return undefined;
  if (typeof accessTokenEnds !== "number" || typeof signedInAt !== "number") return undefined;
  return { refreshToken, accessToken, accessTokenEnds, signedInAt };
}
