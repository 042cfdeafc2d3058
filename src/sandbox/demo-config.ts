import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Config } from "../config/config.ts";
import type { StandInProvider } from "./idp.ts";
import { ENTRA_GROUPS } from "./people.ts";
import type { StandInSaml } from "./saml/stand-in.ts";

export const DEMO_ROLE = "arn:aws:iam::111122223333:role/BedrockShared";
/** How IAM knows the broker where that federates by SAML. */
const SAML_PROVIDER = "arn:aws:iam::111122223333:saml-provider/Rolecall";

/**
 * Writes `rolecall.yaml` for the made-up company into `folder`, and the providers' secrets beside it (0600), so that
 * every broker command can be tried on it. Returns the file's path.
 */
export async function writeDemoConfig(options: {
  readonly folder: string;
  readonly baseUrl: string;
  readonly port: number;
  readonly stsEndpoint: string;
  readonly providers: readonly (Pick<
    StandInProvider,
    "id" | "kind" | "label" | "issuer" | "clientId" | "clientAuth" | "clientSecret" | "emailDomain"
  > & { readonly saml?: StandInSaml | undefined })[];
  /** Left out: web-identity. */
  readonly federation?: Config["aws"]["federation"];
  /** Left out: the in-memory store. */
  readonly redisUrl?: string | undefined;
}): Promise<string> {
  const { folder, baseUrl, port, stsEndpoint, providers, federation, redisUrl } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const { id, clientSecret } of providers) {
    await writeFile(join(folder, `${id}.secret`), `${clientSecret}\n`, { mode: 0o600 });
  }
  const saml = providers.flatMap((provider) => provider.saml ?? []);
  for (const { id, certificate } of saml) await writeFile(join(folder, `${id}.pem`), certificate);
  if (redisUrl !== undefined) await writeFile(join(folder, "redis.url"), redisUrl, { mode: 0o600 });
  const of = (directory: string): string[] => [
    directory,
    ...saml.filter((provider) => provider.directory === directory).map(({ id }) => id),
  ];
  const config = {
    environment: "development",
    baseUrl,
    listen: `127.0.0.1:${port}`,
    stateDir: ".",
    aws: {
      region: "us-east-1",
      roleArn: DEMO_ROLE,
      ...(federation === "saml" && { federation, samlProviderArn: SAML_PROVIDER }),
      stsEndpoint,
    },
    providers: [...providers.map(oidcProvider), ...saml.map(samlProvider)],
    tags: {
      team: {
        required: true,
        from: [
          {
            claim: "groups",
            providers: of("okta"),
            match: { "bedrock-search": "search", "bedrock-ml": "ml-platform" },
          },
          {
            claim: "groups",
            providers: of("entra"),
            match: { [ENTRA_GROUPS.search]: "search", [ENTRA_GROUPS.mlPlatform]: "ml-platform" },
          },
          { claim: "https://acme.example/team", providers: of("auth0") },
        ],
        allowed: ["search", "ml-platform"],
      },
      "cost-centre": {
        from: [
          { claim: "costCenter", providers: [...of("okta"), ...of("entra")] },
          { claim: "https://acme.example/cost_center", providers: of("auth0") },
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
    `# Written by the demo at each start: the made-up company's configuration.\n${stringify(config, { aliasDuplicateObjects: false })}`,
  );
  return file;
}

type DemoProvider = Parameters<typeof writeDemoConfig>[0]["providers"][number];

function oidcProvider({ id, kind, label, issuer, clientId, clientAuth, emailDomain }: DemoProvider): object {
  return {
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
  };
}

function samlProvider(provider: StandInSaml): object {
  const { id, kind, label, directory, entityId, metadataUrl, requestBinding, signsResponse, subjectClaim } = provider;
  return {
    id,
    kind,
    protocol: "saml",
    directory,
    label,
    issuer: entityId,
    metadata: { url: metadataUrl },
    // The metadata is not signed: what signs is known beforehand.
    certificates: [{ file: `${id}.pem` }],
    requestBinding,
    wantResponseSigned: signsResponse,
    ...(subjectClaim !== undefined && { subjectClaim }),
    emailDomains: [provider.emailDomain],
  };
}
