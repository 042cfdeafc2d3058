import { createHash } from "node:crypto";
import { join } from "node:path";
import { Redis } from "ioredis";
import { Provider } from "oidc-provider";
import { completeSignIn } from "../src/flow/sign-in.ts";
import type { Identity } from "../src/flow/identity.ts";
import type { KeyValueStore, Log } from "../src/flow/ports.ts";
import { checkpointKeyOf } from "../src/keys/checkpoint-key.ts";
import { openKeys } from "../src/keys/key-file.ts";
import { importKeys } from "../src/keys/key-format.ts";
import type { KeyFile } from "../src/keys/stored-keys.ts";
import { openLedger } from "../src/ledger/ledger.ts";
import type { LedgerPlace } from "../src/ledger/place.ts";
import { adapterFactory } from "../src/oauth/adapter.ts";
import { Grants } from "../src/oauth/grants.ts";
import { policy } from "../src/oauth/policy.ts";
import { redisStore } from "../src/store/redis.ts";
import { sealed } from "../src/store/sealed.ts";

const silent: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Seconds: no benchmark outlives a sign-in or a token. */
export const LIFE = 12 * 3600;

/** The broker's own code over its store, as far as people who are signed in are made of it. */
export interface Workforce {
  readonly store: KeyValueStore;
  readonly grants: Grants;
  /** What a sign-in of the command line leaves in Redis once its code is gone. Returns the access token. */
  grantTokens(identity: Identity): Promise<string>;
  close(): Promise<void>;
}

/** With the keys in `folder`, which are made if they aren't there. */
export async function openWorkforce(folder: string, redisUrl: string): Promise<Workforce> {
  const keys = await importKeys(await openKeyFile(folder), Date.now());
  const redis = redisStore(redisUrl, silent);
  const store = sealed(redis, () => keys.sealingKeys, silent);
  const grants = new Grants(store, { longestLifeSeconds: LIFE, onReused: () => Promise.resolve(), log: silent });
  const provider = new Provider("http://127.0.0.1:4400/oauth", {
    ...policy({ grants, signingAlgorithm: "ES256", signInMaxAgeSeconds: LIFE, admit: () => Promise.resolve() }),
    adapter: adapterFactory(store, grants),
    jwks: { keys: [...keys.oauth] },
  });
  return {
    store,
    grants,
    grantTokens: (identity) => grantTokens(provider, grants, identity),
    close: () => redis.close(),
  };
}

function openKeyFile(folder: string): Promise<KeyFile> {
  return openKeys(folder, { signingAlgorithm: "ES256", origin: "127.0.0.1:4400/ledger", now: Date.now });
}

/**
 * Signs `people` in without a browser: their session names are in the ledger, their grants with an access and a refresh
 * token each in Redis, and beside them what the bare handler keeps of a person. Returns the access tokens.
 */
export async function signInEverybody(options: {
  readonly folder: string;
  readonly people: number;
  readonly redisUrl: string;
  readonly ledgerUrl?: string | undefined;
}): Promise<string[]> {
  const { folder, people, redisUrl, ledgerUrl } = options;
  const workforce = await openWorkforce(folder, redisUrl);
  const checkpointKey = checkpointKeyOf(await openKeyFile(folder), { checkpointKey: undefined });
  const place: LedgerPlace = ledgerUrl === undefined ? { file: join(folder, "ledger.db") } : { url: ledgerUrl };
  const ledger = await openLedger({ ...place, checkpointKey, log: silent, deadlineMs: 60_000 });
  const bare = new Redis(redisUrl);
  try {
    return await inBatches(people, async (i) => {
      const identity = person(i);
      await completeSignIn(ledger, identity, { requestId: `sign-in-${i}`, client: "browser" });
      const token = await workforce.grantTokens(identity);
      await bare.set(bareKey(token), JSON.stringify(identity), "EX", LIFE);
      return token;
    });
  } finally {
    bare.disconnect();
    await workforce.close();
    await ledger.close();
  }
}

/** `work` for 0 to `count` - 1, two hundred at a time. */
export async function inBatches<T>(count: number, work: (i: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  while (results.length < count) {
    const first = results.length;
    const batch = Array.from({ length: Math.min(200, count - first) }, (_, i) => work(first + i));
    results.push(...(await Promise.all(batch)));
  }
  return results;
}

/** As the bare handler finds it. */
function bareKey(token: string): string {
  return `bare:${createHash("sha256").update(token).digest("base64url")}`;
}

/** Somebody with twenty groups, one of which gives a team. */
export function person(i: number): Identity {
  const groups = [...Array.from({ length: 19 }, (_, group) => `everyone-${group}-of-acme`), `bedrock-${i % 40}`];
  return {
    provider: "okta",
    directory: "okta",
    subject: `00u${String(i).padStart(17, "0")}`,
    email: `person.${i}@acme.example`,
    claims: { groups, costCenter: `cc-${1000 + (i % 50)}` },
    signedInAt: Date.now(),
    claimsAt: Date.now(),
    refreshId: "AAAAAAAAAAAAAAAAAAAAAA",
  };
}

async function grantTokens(provider: Provider, grants: Grants, identity: Identity): Promise<string> {
  const clientId = "rolecall-cli";
  const client = await provider.Client.find(clientId);
  if (client === undefined) throw new Error("the policy has no command line");
  const accountId = createHash("sha256").update(identity.subject).digest("base64url");
  const scope = "openid offline_access credentials";
  const grant = new provider.Grant({ accountId, clientId });
  grant.exp = Math.floor(Date.now() / 1000) + LIFE;
  grant.addOIDCScope(scope);
  const grantId = await grant.save();
  await grants.keepSubject(grantId, { clientId, identity }, LIFE);
  const common = { accountId, client, grantId, scope, gty: "authorization_code", expiresIn: LIFE };
  await new provider.RefreshToken({ ...common, rotations: 0, iiat: Math.floor(Date.now() / 1000) }).save();
  return await new provider.AccessToken(common).save();
}
