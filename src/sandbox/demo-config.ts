import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import type { StandInProvider } from "./idp.ts";
import { ENTRA_GROUPS } from "./people.ts";

export const DEMO_ROLE = "arn:aws:iam::111122223333:role/BedrockShared";

/**
 * Writes `rolecall.yaml` for the made-up company into `folder`, and the providers' secrets beside it (0600), so that
 * every broker command can be tried on it. Returns the file's path.
 */
export async function writeDemoConfig(options: {
  readonly folder: string;
  readonly baseUrl: string;
  readonly port: number;
  readonly stsEndpoint: string;
  readonly providers: readonly Pick<
    StandInProvider,
    "id" | "kind" | "label" | "issuer" | "clientId" | "clientAuth" | "clientSecret" | "emailDomain"
  >[];
  /** Left out: the in-memory store. */
  readonly redisUrl?: string | undefined;
}): Promise<string> {
  const { folder, baseUrl, port, stsEndpoint, providers, redisUrl } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const { id, clientSecret } of providers) {
    await writeFile(join(folder, `${id}.secret`), `${clientSecret}\n`, { mode: 0o600 });
  }
  if (redisUrl !== undefined) await writeFile(join(folder, "redis.url"), redisUrl, { mode: 0o600 });
  const config = {
    environment: "development",
    baseUrl,
    listen: `127.0.0.1:${port}`,
    stateDir: ".",
    aws: { region: "us-east-1", roleArn: DEMO_ROLE, stsEndpoint },
    providers: providers.map(({ id, kind, label, issuer, clientId, clientAuth, emailDomain }) => ({
      id,
      kind,
      protocol: "oidc",
      label,
      issuer,
      clientId,
      clientAuth,
      clientSecret: { file: `${id}.secret` },
      emailDomains: [emailDomain],
      claimsMaxAge: "1h",
    })),
    tags: {
      team: {
        required: true,
        from: [
          { claim: "groups", providers: ["okta"], match: { "bedrock-search": "search", "bedrock-ml": "ml-platform" } },
          {
            claim: "groups",
            providers: ["entra"],
            match: { [ENTRA_GROUPS.search]: "search", [ENTRA_GROUPS.mlPlatform]: "ml-platform" },
          },
          { claim: "https://acme.example/team", providers: ["auth0"] },
        ],
        allowed: ["search", "ml-platform"],
      },
      "cost-centre": {
        from: [
          { claim: "costCenter", providers: ["okta", "entra"] },
          { claim: "https://acme.example/cost_center", providers: ["auth0"] },
        ],
        allowed: { file: "cost-centres.csv" },
        default: "unallocated",
      },
    },
    access: { auditor: [{ provider: "okta", claim: "groups", match: ["security-audit"] }] },
    ...(redisUrl !== undefined && { redis: { url: { file: "redis.url" } } }),
  };
  await writeFile(
    join(folder, "cost-centres.csv"),
    "cost centre,owner\ncc-1042,Search\ncc-1077,ML platform\ncc-2010,Search EMEA\ncc-2020,ML EMEA\ncc-4001,Labs search\ncc-4002,Labs ML\nunallocated,nobody yet\n",
  );
  const file = join(folder, "rolecall.yaml");
  await writeFile(
    file,
    `# Written by the demo at each start: the made-up company's configuration.\n${stringify(config)}`,
  );
  return file;
}
