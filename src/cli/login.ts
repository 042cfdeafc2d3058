import { openBrowser } from "./browser.ts";
import { CommandFailure } from "./failure.ts";
import { brokerFiles, chooseBroker, rememberBroker, type BrokerFiles } from "./home.ts";
import { withLock } from "./lock.ts";
import { listenOnLoopback, type LoopbackAnswer } from "./loopback.ts";
import { beginSignIn, type Tokens } from "./oauth.ts";
import { removePrivateFile } from "./private-file.ts";
import { say } from "./terminal.ts";
import { readTokens, writeTokens } from "./tokens.ts";
import { showPerson } from "./whoami.ts";

/** To be waited for beyond another login's own time limit. */
const SPARE_SECONDS = 30;

/**
 * Signs the person in by a browser and says who they are. One browser a broker: a second login waits for the first
 * and shares what it got.
 */
export async function login(options: { broker?: string; browser: boolean; timeout: number }): Promise<void> {
  const files = brokerFiles(chooseBroker(options.broker));
  const { broker } = files;
  const began = Date.now();
  let waited = false;
  const onWait = (): void => {
    waited = true;
    say(`another rolecall login is under way for ${broker}: finish it in its browser; waiting for it...`);
  };
  const timedOut = "another rolecall login has been under way for too long";
  await withLock(files.loginLock, { seconds: options.timeout + SPARE_SECONDS, timedOut, onWait }, async () => {
    if (waited) requireSignInSince(files, began);
    else await storeSignIn(files, await signIn(broker, options));
  });
  rememberBroker(broker);
  await showPerson(files);
}

function requireSignInSince(files: BrokerFiles, began: number): void {
  const tokens = readTokens(files);
  if (tokens !== undefined && tokens.signedInAt >= began) return;
  throw new CommandFailure("the other rolecall login ended without a sign-in", { hint: "run: rolecall login" });
}

/** Under the refresh lock, so that a refresh of the old sign-in under way can't overwrite the new one. */
async function storeSignIn(files: BrokerFiles, tokens: Tokens): Promise<void> {
  const wait = {
    seconds: SPARE_SECONDS * 2,
    timedOut: "another rolecall has been asking for credentials for too long",
  };
  await withLock(files.refreshLock, wait, () => {
    // They may be another person's.
    removePrivateFile(files.credentials);
    removePrivateFile(files.failure);
    writeTokens(files, tokens);
    return Promise.resolve();
  });
}

async function signIn(broker: string, options: { browser: boolean; timeout: number }): Promise<Tokens> {
  const listener = await listenOnLoopback();
  try {
    const request = await beginSignIn(broker, listener.redirectUri);
    const [answer] = await Promise.all([
      withinTime(listener.answerTo(request.state), options.timeout),
      sendToBrowser(request.url, options.browser),
    ]);
    return await redeemAndShow(answer, (url) => request.redeem(url));
  } finally {
    listener.close();
  }
}

/** The page tells the truth: it is shown once the tokens are here, or are not. */
async function redeemAndShow(answer: LoopbackAnswer, redeem: (url: URL) => Promise<Tokens>): Promise<Tokens> {
  try {
    const tokens = await redeem(answer.url);
    answer.show("done");
    return tokens;
  } catch (error) {
    answer.show("failed");
    throw error;
  }
}

async function sendToBrowser(url: string, wanted: boolean): Promise<void> {
  const opened = wanted && (await openBrowser(url));
  say(
    opened
      ? "Your browser opens for the sign-in. If it does not, open this address in it:"
      : "Open this address in a browser on this machine:",
  );
  say("");
  say(`  ${url}`);
  say("");
  say("Waiting for you to sign in (Ctrl-C cancels)...");
}

/** The answer, or a CommandFailure once the time is up or the person cancels. */
function withinTime(answer: Promise<LoopbackAnswer>, seconds: number): Promise<LoopbackAnswer> {
  return new Promise((resolve, reject) => {
    const end = (failure: CommandFailure): void => {
      settle();
      reject(failure);
    };
    const cancel = (): void => {
      end(new CommandFailure("the sign-in was cancelled"));
    };
    const timer = setTimeout(() => {
      end(new CommandFailure(`nobody signed in within ${seconds} seconds`, { hint: "run: rolecall login" }));
    }, seconds * 1000);
    const settle = (): void => {
      clearTimeout(timer);
      process.off("SIGINT", cancel).off("SIGTERM", cancel);
    };
    process.once("SIGINT", cancel).once("SIGTERM", cancel);
    void answer.then((value) => {
      settle();
      resolve(value);
    });
  });
}
