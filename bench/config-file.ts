import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";

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
