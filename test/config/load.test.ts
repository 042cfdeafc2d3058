import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadConfig, loadConfigOfLedger, loadConfigWithoutSecrets } from "../../src/config/load.ts";
import {
  changed,
  configFolder,
  entra,
  okta,
  productionConfig,
  productionEnv,
  provider,
  taken,
  TENANT,
  type Files,
} from "../support/config-file.ts";

describe("a configuration without fault", () => {
  it("comes back whole, with defaults, references resolved and durations in seconds", () => {
    using folder = configFolder();
    const config = loadConfig(folder.write("rolecall.yaml", productionConfig()), productionEnv);
    expect(config).toMatchObject({
      environment: "production",
      baseUrl: "https://rolecall.acme.example",
      listen: { host: "127.0.0.1", port: 4400 },
      trustProxy: 0,
      stateDir: join(folder.path, "state"),
      aws: {
        federation: "web-identity",
        audience: "sts.amazonaws.com",
        sessionDurationSeconds: 3600,
        signingAlgorithm: "ES256",
        transitiveTags: [],
        stsEndpoint: undefined,
        models: ["*"],
      },
      providers: [
        {
          id: "okta",
          directory: "okta",
          label: "okta",
          clientAuth: { method: "client_secret_basic", secret: "okta-secret" },
          scopes: ["openid", "email", "profile", "offline_access"],
          organization: undefined,
          claimsMaxAgeSeconds: 3600,
        },
      ],
      signInMaxAgeSeconds: 12 * 3600,
      stopDelaySeconds: 5,
      rateLimits: { perAddress: 2000, perAccount: 600, signInsUnderWay: 100_000 },
      redisUrl: productionEnv.REDIS_URL,
      ledgerUrl: undefined,
    });
    expect(config.mapping.version).toMatch(/^[0-9a-f]{64}$/);
  });

  const { privateKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const cases: [name: string, config: object, files: Files, expected: object][] = [
    ["an IPv6 address to listen on", changed("listen", "[::1]:8080"), {}, { listen: { host: "::1", port: 8080 } }],
    [
      "a secret in a file, beside the configuration",
      changed("providers/0/clientSecret", { file: "s" }),
      { s: "x y\n" },
      { providers: [{ clientAuth: { secret: "x y" } }] },
    ],
    [
      "a secret whose own newline stays",
      changed("providers/0/clientSecret", { file: "s" }),
      { s: "x\n\n" },
      { providers: [{ clientAuth: { secret: "x\n" } }] },
    ],
    [
      "a secret from another system's editor",
      changed("providers/0/clientSecret", { file: "s" }),
      { s: "x\r\n" },
      { providers: [{ clientAuth: { secret: "x" } }] },
    ],
    [
      "a client key",
      changed("providers/0", {
        ...okta,
        clientSecret: undefined,
        clientAuth: "private_key_jwt",
        clientKey: { file: "k.pem" },
      }),
      { "k.pem": privateKey },
      { providers: [{ clientAuth: { method: "private_key_jwt", key: privateKey.trimEnd() } }] },
    ],
    [
      "one tenant of Entra ID",
      changed("providers/1", entra(`https://login.microsoftonline.com/${TENANT}/v2.0`)),
      {},
      { providers: [{}, { kind: "entra" }] },
    ],
    [
      "Auth0's organization",
      changed("providers/1", provider({ kind: "auth0", organization: "org_1" })),
      {},
      { providers: [{}, { organization: "org_1" }] },
    ],
    ["an explicitly empty stsEndpoint", changed("aws/stsEndpoint", null), {}, { aws: { stsEndpoint: undefined } }],
    ["30 minutes", changed("aws/sessionDuration", "30m"), {}, { aws: { sessionDurationSeconds: 1800 } }],
    ["12 hours", changed("aws/sessionDuration", "12h"), {}, { aws: { sessionDurationSeconds: 43_200 } }],
    [
      "one domain twice in one directory",
      changed("providers/1", provider({ directory: "okta", emailDomains: ["acme.example"] })),
      {},
      { providers: [{ directory: "okta" }, { directory: "okta" }] },
    ],
    [
      "a partition of its own",
      changed("aws", { region: "us-gov-west-1", roleArn: "arn:aws-us-gov:iam::111122223333:role/Shared" }),
      {},
      { aws: { region: "us-gov-west-1" } },
    ],
  ];
  it.each(cases)("takes %s", (_name, config, files, expected) => {
    expect(taken(config, productionEnv, files)).toMatchObject(expected);
  });

  it("reads an allowed list: first column, below the header, quoted, with a byte order mark", () => {
    const config = changed("tags/cost-centre", { from: [{ claim: "costCenter" }], allowed: { file: "cc.csv" } });
    const files = { "cc.csv": '\uFEFFcode,name\r\ncc-1,"Search, all"\r\n\r\n"cc-2"\r\ncc-3,x,y\r\n' };
    expect(taken(config, productionEnv, files).tags["cost-centre"]?.allowed).toEqual(["cc-1", "cc-2", "cc-3"]);
  });

  it("changes its mapping's version with the list", () => {
    const config = changed("tags/cost-centre", { from: [{ claim: "costCenter" }], allowed: { file: "cc.csv" } });
    const version = (csv: string): string => taken(config, productionEnv, { "cc.csv": csv }).mapping.version;
    expect(version("code\ncc-1\n")).not.toBe(version("code\ncc-1\ncc-2\n"));
    expect(version("code\ncc-1\n")).toBe(version("other,header\ncc-1,x\n"));
  });

  it("lets rules share a list by anchor and alias, and keeps keys as written", () => {
    const yaml = `${JSON.stringify({ ...productionConfig(), tags: undefined }).slice(0, -1)},
      tags: { team: { from: [{ claim: a, match: &teams { 007: bond, yes: "y" } }, { claim: b, match: *teams }] } } }`;
    expect(taken(yaml).tags["team"]?.from.map(({ match }) => match)).toEqual([
      { "007": "bond", yes: "y" },
      { "007": "bond", yes: "y" },
    ]);
  });

  it("gives development plain http on this machine, no Redis, another STS and a free port", () => {
    const config = {
      ...changed("providers/0/issuer", "http://localhost:9000"),
      environment: "development",
      baseUrl: "http://127.0.0.1:4400",
      listen: "127.0.0.1:0",
      redis: undefined,
    };
    expect(
      taken({ ...config, aws: { ...(config as { aws?: object }).aws, stsEndpoint: "http://127.0.0.1:9001" } }),
    ).toMatchObject({
      redisUrl: undefined,
      aws: { stsEndpoint: "http://127.0.0.1:9001" },
    });
  });

  it("gives development a stand-in for Entra ID, by tenant", () => {
    const config = {
      ...changed("providers/1", entra(`http://localhost:9000/${TENANT}/v2.0`)),
      environment: "development",
    };
    expect(taken(config)).toMatchObject({ environment: "development" });
  });

  it("asks for a refresh token where the kind has a scope for it, and for what is written where something is", () => {
    const scopesOf = (over: object): readonly string[] | undefined => {
      using folder = configFolder();
      const config = loadConfig(folder.write("rolecall.yaml", changed("providers/0", over)), productionEnv);
      return config.providers.find((it) => it.protocol === "oidc")?.scopes;
    };
    const [first = {}] = (productionConfig() as { providers: object[] }).providers;
    const standard = ["openid", "email", "profile"];
    expect(scopesOf({ ...first, kind: "auth0" })).toEqual([...standard, "offline_access"]);
    expect(scopesOf({ ...first, kind: "generic" })).toEqual(standard);
    expect(scopesOf({ ...first, scopes: ["openid", "groups"] })).toEqual(["openid", "groups"]);
  });

  it.each([
    ["production", "postgres://rolecall_broker:pass%2Fword@db.acme.example:5433/rolecall?sslmode=verify-full"],
    ["production", "postgresql://b@db/rolecall?sslmode=verify-full&sslrootcert=/etc/rolecall/ca.pem"],
    ["production", "postgres://b:p@[::1]/rolecall?sslmode=disable"],
    ["development", "postgres://b:p@127.0.0.1/rolecall"],
  ])("takes a ledger in PostgreSQL, in %s: %s", (environment, url) => {
    const config = { ...changed("ledger", { url: { env: "DATABASE_URL" } }), environment };
    expect(taken(config, { ...productionEnv, DATABASE_URL: url }).ledgerUrl).toBe(url);
  });

  it("can be read with the ledger's URL for its only secret, by commands that read the record", () => {
    using folder = configFolder();
    const file = folder.write("rolecall.yaml", changed("ledger", { url: { env: "DATABASE_URL" } }));
    const url = "postgres://b@db/rolecall?sslmode=verify-full";
    expect(loadConfigOfLedger(file, { DATABASE_URL: url }).ledgerUrl).toBe(url);
    expect(() => loadConfigOfLedger(file, {})).toThrow(/DATABASE_URL is not set/);
  });

  it("can be read without its secrets, by commands that talk to nobody", () => {
    using folder = configFolder();
    const config = loadConfigWithoutSecrets(folder.write("rolecall.yaml", productionConfig()));
    expect(config.providers[0]).toMatchObject({ clientAuth: { method: "client_secret_basic", secret: "" } });
    expect(config.redisUrl).toBeUndefined();
  });
});
