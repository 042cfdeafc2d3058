import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { Provider } from "oidc-provider";
import { stringify } from "yaml";
import { completeSignIn } from "../src/flow/sign-in.ts";
import type { Identity } from "../src/flow/identity.ts";
import type { Log } from "../src/flow/ports.ts";
import { openKeys } from "../src/keys/key-file.ts";
import { openLedger } from "../src/ledger/ledger.ts";
import type { LedgerPlace } from "../src/ledger/place.ts";
import { adapterFactory } from "../src/oauth/adapter.ts";
import { Grants } from "../src/oauth/grants.ts";
import { policy } from "../src/oauth/policy.ts";
import { redisStore } from "../src/store/redis.ts";
import { sealed } from "../src/store/sealed.ts";

export const silent: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Twelve hours: no benchmark outlives a sign-in or a token. */
const LIFE = 12 * 3600;

/** Writes a configuration for a company whose provider is never asked: every claim is fresh. Returns its path. */
export function writeConfig(options: {
  readonly folder: string;
  readonly stsUrl: string;
  readonly redisUrl: string;
  readonly ledgerUrl?: string | undefined;
}): string {
  const { folder, stsUrl, redisUrl, ledgerUrl } = options;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const teams = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`bedrock-${i}`, `team-${i}`]));
  for (const [name, url] of Object.entries({ redis: redisUrl, ledger: ledgerUrl ?? "" })) {
    writeFileSync(join(folder, `${name}.url`), url, { mode: 0o600 });
  }
  writeFileSync(join(folder, "okta.secret"), "not-asked", { mode: 0o600 });
  const config = {
    environment: "development",
    baseUrl: "http://127.0.0.1:4400",
    listen: "127.0.0.1:0",
    stateDir: ".",
    aws: { region: "us-east-1", roleArn: "arn:aws:iam::111122223333:role/BedrockShared", stsEndpoint: stsUrl },
    providers: [
      {
        id: "okta",
        kind: "okta",
        protocol: "oidc",
        issuer: "http://127.0.0.1:9",
        clientId: "bench",
        clientSecret: { file: "okta.secret" },
        emailDomains: ["acme.example"],
        claimsMaxAge: "12h",
      },
    ],
    tags: {
      team: { required: true, from: [{ claim: "groups", match: teams }], allowed: Object.values(teams) },
      "cost-centre": { from: [{ claim: "costCenter" }], default: "unallocated" },
    },
    // A benchmark asks in minutes what people ask for in hours.
    rateLimits: { perAccount: 1_000_000, perAddress: 1_000_000 },
    redis: { url: { file: "redis.url" } },
    ...(ledgerUrl !== undefined && { ledger: { url: { file: "ledger.url" } } }),
  };
  const file = join(folder, "rolecall.yaml");
  writeFileSync(file, stringify(config));
  return file;
}

/**
 * Signs `people` in with the broker's own code, but without a browser: their session names are in the ledger, their
 * grants with an access and a refresh token each in Redis. Returns the access tokens. `bare`: also what the bare
 * handler keeps of a person.
 */
export async function signInEverybody(options: {
  readonly folder: string;
  readonly people: number;
  readonly redisUrl: string;
  readonly ledgerUrl?: string | undefined;
}): Promise<string[]> {
  const { folder, people, redisUrl, ledgerUrl } = options;
  const keys = await openKeys(folder, { signingAlgorithm: "ES256", origin: "127.0.0.1:4400/ledger" });
  const place: LedgerPlace = ledgerUrl === undefined ? { file: join(folder, "ledger.db") } : { url: ledgerUrl };
  const ledger = await openLedger({ ...place, checkpointKey: keys.checkpoint, log: silent, deadlineMs: 60_000 });
  const redis = redisStore(redisUrl, silent);
  const store = sealed(redis, keys.sealingKey, silent);
  const grants = new Grants(store, {
    longestLifeSeconds: LIFE,
    onReused: () => Promise.resolve(),
    log: silent,
  });
  const provider = new Provider("http://127.0.0.1:4400/oauth", {
    ...policy({ grants, signingAlgorithm: "ES256", signInMaxAgeSeconds: LIFE, admit: () => Promise.resolve() }),
    adapter: adapterFactory(store, grants),
    jwks: { keys: [...keys.oauth] },
  });
  const bare = new Redis(redisUrl);
  try {
    const tokens: string[] = [];
    for (let i = 0; i < people; i += 100) {
      const batch = Array.from({ length: Math.min(100, people - i) }, async (_, j) => {
        const identity = person(i + j);
        await completeSignIn(ledger, identity, { requestId: `sign-in-${i + j}`, client: "browser" });
        const token = await grantTokens(provider, grants, identity);
        await bare.set(bareKey(token), JSON.stringify(identity), "EX", LIFE);
        return token;
      });
      tokens.push(...(await Promise.all(batch)));
    }
    return tokens;
  } finally {
    bare.disconnect();
    await redis.close();
    await ledger.close();
  }
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

/** What the command line's sign-in leaves in Redis, once its code is gone. Returns the access token. */
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
  await new provider.RefreshToken({ ...common, rotations: 0, iiat: Math.floor(Date.now() / 1000) } as never).save();
  return await new provider.AccessToken(common as never).save();
}
