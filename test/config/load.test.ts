import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { ConfigError, type ConfigFault } from "../../src/config/config-error.ts";
import { loadConfig, loadConfigWithoutSecrets } from "../../src/config/load.ts";
import { configFolder, productionConfig, productionEnv } from "../support/config-file.ts";

type Env = Readonly<Record<string, string | undefined>>;
type Files = Readonly<Record<string, string>>;

/** The faults of a configuration, or the configuration itself. */
function load(config: string | object, env: Env = productionEnv, files: Files = {}): Config | ConfigFault[] {
  using folder = configFolder();
  for (const [name, content] of Object.entries(files)) folder.write(name, content);
  try {
    return loadConfig(folder.write("rolecall.yaml", config), env);
  } catch (error) {
    if (error instanceof ConfigError) return [...error.faults];
    throw error;
  }
}

function taken(config: string | object, env?: Env, files?: Files): Config {
  const result = load(config, env, files);
  if (Array.isArray(result)) throw new Error(JSON.stringify(result));
  return result;
}

function faults(config: string | object, env?: Env, files?: Files): ConfigFault[] {
  const result = load(config, env, files);
  return Array.isArray(result) ? result : [];
}

/** The configuration without fault, with `value` at `path`; undefined takes the field out. */
function changed(path: string, value: unknown): Record<string, unknown> {
  const config = productionConfig();
  const steps = path.split("/");
  let at = config;
  for (const step of steps.slice(0, -1)) at = (at[step] ??= {}) as Record<string, unknown>;
  const last = steps.at(-1) ?? "";
  if (value === undefined) Reflect.deleteProperty(at, last);
  else at[last] = value;
  return config;
}

const okta = (productionConfig()["providers"] as Record<string, unknown>[])[0] ?? {};
const provider = (over: object): object => ({ ...okta, id: "second", emailDomains: ["second.example"], ...over });
const TENANT = "3f2a8c1e-5b7d-4e90-a1c4-9d8e7f605b21";
const entra = (issuer: string): object => provider({ kind: "entra", issuer });

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
          scopes: ["openid", "email", "profile"],
          organization: undefined,
          claimsMaxAgeSeconds: 3600,
        },
      ],
      signInMaxAgeSeconds: 12 * 3600,
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

  it("can be read without its secrets, by commands that talk to nobody", () => {
    using folder = configFolder();
    const config = loadConfigWithoutSecrets(folder.write("rolecall.yaml", productionConfig()));
    expect(config.providers[0]?.clientAuth).toEqual({ method: "client_secret_basic", secret: "" });
    expect(config.redisUrl).toBeUndefined();
  });
});

describe("faults, by the field's name", () => {
  const cases: [name: string, config: object, path: string, message: RegExp][] = [
    ["a missing field", changed("baseUrl", undefined), "baseUrl", /^is missing$/],
    [
      "an environment that there isn't",
      changed("environment", "prod"),
      "environment",
      /^must be production or development$/,
    ],
    ["a missing environment", changed("environment", undefined), "environment", /^is missing$/],
    ["a field that there isn't", changed("basUrl", "x"), "basUrl", /did you mean baseUrl\?/],
    [
      "one that is written otherwise",
      changed("providers/0/client_id", "x"),
      "providers[0].client_id",
      /did you mean clientId\?/,
    ],
    ["one that is like none", changed("aws/foo", "x"), "aws.foo", /there are region, roleArn/],
    [
      "one in a source",
      changed("tags/team/from/0/provider", "okta"),
      "tags.team.from[0].provider",
      /did you mean providers\?/,
    ],
    ["a number for text", changed("tags/team/from/0/match", { a: 7 }), "tags.team.from[0].match.a", /put it in quotes/],
    ["a list for text", changed("stateDir", ["x"]), "stateDir", /^must be text$/],
    [
      "text for a list",
      changed("providers/0/emailDomains", "acme.example"),
      "providers[0].emailDomains",
      /^must be a list$/,
    ],
    ["no provider at all", changed("providers", []), "providers", /one entry at least/],
    ["no tags", changed("tags", undefined), "tags", /is missing/],
    ["empty text", changed("stateDir", ""), "stateDir", /is empty/],
    ["an allowed list that is neither", changed("tags/team/allowed", "search"), "tags.team.allowed", /list of texts/],

    ["a path in the base URL", changed("baseUrl", "https://a.example/rolecall"), "baseUrl", /nothing after/],
    ["a slash at its end", changed("baseUrl", "https://a.example/"), "baseUrl", /nothing after/],
    ["a query", changed("baseUrl", "https://a.example?x"), "baseUrl", /nothing after/],
    ["a password in it", changed("baseUrl", "https://u:p@a.example"), "baseUrl", /user name or password/],
    [
      "a base URL that IAM can't take",
      changed("baseUrl", `https://${"a".repeat(60)}.${"b".repeat(60)}.${"c".repeat(60)}.${"d".repeat(60)}`),
      "baseUrl",
      /255/,
    ],
    ["a port past the last", changed("listen", "127.0.0.1:65536"), "listen", /1 to 65535/],
    ["port 0 in production", changed("listen", "127.0.0.1:0"), "listen", /1 to 65535/],
    ["no port", changed("listen", "127.0.0.1"), "listen", /ADDRESS:PORT/],
    ["a negative number of proxies", changed("trustProxy", -1), "trustProxy", /0 at least/],

    ["plain http in production", changed("baseUrl", "http://rolecall.acme.example"), "baseUrl", /https in production/],
    ["a loopback host in production", changed("baseUrl", "https://localhost"), "baseUrl", /loopback/],
    ["one by number", changed("baseUrl", "https://127.0.0.1"), "baseUrl", /loopback/],
    ["one by IPv6", changed("baseUrl", "https://[::1]"), "baseUrl", /loopback/],
    ["one in another spelling", changed("providers/0/issuer", "https://0x7f.1/"), "providers[0].issuer", /loopback/],
    [
      "one by IPv4 in IPv6",
      changed("providers/0/issuer", "https://[::ffff:127.0.0.1]/"),
      "providers[0].issuer",
      /loopback/,
    ],
    [
      "an issuer by plain http",
      changed("providers/0/issuer", "http://acme.okta.com"),
      "providers[0].issuer",
      /https in production/,
    ],
    [
      "another STS in production",
      changed("aws/stsEndpoint", "https://sts.example"),
      "aws.stsEndpoint",
      /development only/,
    ],
    ["no Redis in production", changed("redis", undefined), "redis", /is missing/],
    [
      "plain http elsewhere in development",
      { ...changed("baseUrl", "http://rolecall.acme.example"), environment: "development" },
      "baseUrl",
      /loopback host/,
    ],
    [
      "a host that only begins like one",
      { ...changed("baseUrl", "http://127.0.0.1.evil.example"), environment: "development" },
      "baseUrl",
      /loopback host/,
    ],
    ["PostgreSQL", changed("ledger", { url: { env: "DATABASE_URL" } }), "ledger.url", /SQLite/],

    ["a role that is none", changed("aws/roleArn", "arn:aws:iam::1:role/x"), "aws.roleArn", /role's ARN|20 characters/],
    ["a role of another partition", changed("aws/region", "cn-north-1"), "aws.roleArn", /arn:aws-cn:/],
    ["29 minutes", changed("aws/sessionDuration", "29m"), "aws.sessionDuration", /30m to 12h/],
    ["13 hours", changed("aws/sessionDuration", "13h"), "aws.sessionDuration", /30m to 12h/],
    ["a duration without a unit", changed("signInMaxAge", "12"), "signInMaxAge", /30m or 12h/],
    ["a transitive tag that isn't there", changed("aws/transitiveTags", ["Team"]), "aws.transitiveTags[0]", /no tag/],
    ["one twice", changed("aws/transitiveTags", ["team", "team"]), "aws.transitiveTags[1]", /second time/],

    [
      "one id twice",
      changed("providers/1", provider({ id: "okta", directory: "second" })),
      "providers[1].id",
      /providers\[0\] has this id/,
    ],
    ["an id in capitals", changed("providers/0/id", "Okta"), "providers[0].id", /lower-case/],
    [
      "a domain under two directories",
      changed("providers/1", provider({ emailDomains: ["acme.example"] })),
      "providers[1].emailDomains[0]",
      /another directory/,
    ],
    [
      "two kinds in one directory",
      changed("providers/1", provider({ kind: "auth0", directory: "okta" })),
      "providers[1].directory",
      /okta subjects/,
    ],
    [
      "an email domain in capitals",
      changed("providers/0/emailDomains", ["Acme.example"]),
      "providers[0].emailDomains[0]",
      /lower case/,
    ],
    [
      "an organization outside Auth0",
      changed("providers/0/organization", "org_1"),
      "providers[0].organization",
      /auth0 only/,
    ],
    ["scopes without openid", changed("providers/0/scopes", ["email"]), "providers[0].scopes", /openid/],
    [
      "a query in the issuer",
      changed("providers/0/issuer", "https://acme.okta.com?x=1"),
      "providers[0].issuer",
      /no query/,
    ],
    [
      "no secret",
      changed("providers/0/clientSecret", undefined),
      "providers[0].clientSecret",
      /client_secret_basic needs it/,
    ],
    [
      "a key too much",
      changed("providers/0/clientKey", { env: "OKTA_CLIENT_SECRET" }),
      "providers[0].clientKey",
      /leave it out/,
    ],
    ["a key too little", changed("providers/0/clientAuth", "private_key_jwt"), "providers[0].clientKey", /is missing/],
    [
      "a secret too much",
      changed("providers/0/clientAuth", "private_key_jwt"),
      "providers[0].clientSecret",
      /leave it out/,
    ],
    ...["common", "organizations", "consumers", TENANT.toUpperCase(), "acme.example"].map(
      (tenant): [string, object, string, RegExp] => [
        `Entra ID's ${tenant}`,
        changed("providers/1", entra(`https://login.microsoftonline.com/${tenant}/v2.0`)),
        "providers[1].issuer",
        /one tenant/,
      ],
    ),
    [
      "an Entra ID that is none",
      changed("providers/1", entra(`https://login.evil.example/${TENANT}/v2.0`)),
      "providers[1].issuer",
      /one tenant/,
    ],
    [
      "Entra ID's version 1",
      changed("providers/1", entra(`https://sts.windows.net/${TENANT}/`)),
      "providers[1].issuer",
      /one tenant/,
    ],
    [
      "common in development",
      { ...changed("providers/1", entra("http://localhost:9000/common/v2.0")), environment: "development" },
      "providers[1].issuer",
      /one tenant/,
    ],

    [
      "a rule for nobody",
      changed("tags/team/from/0/providers", ["entra"]),
      "tags.team.from[0].providers[0]",
      /no provider/,
    ],
    [
      "access by nobody",
      changed("access", { admin: [{ provider: "entra", claim: "groups", match: ["a"] }] }),
      "access.admin[0].provider",
      /no provider/,
    ],
    ["an access that there isn't", changed("access", { auditors: [] }), "access.auditors", /did you mean auditor\?/],
    ["required with a default", changed("tags/team/default", "search"), "tags.team.default", /choose one/],
    [
      "a pattern that RE2 has not",
      changed("tags/team/from/0", { claim: "c", pattern: "(?=x)" }),
      "tags.team.from[0].pattern",
      /RE2/,
    ],
    [
      "open tags too long together",
      changed("tags", { a: { from: [{ claim: "a" }] }, b: { from: [{ claim: "b" }] } }),
      "tags",
      /bytes/,
    ],
  ];
  it.each(cases)("%s", (_name, config, path, message) => {
    const found = faults(config);
    expect(found.map((fault) => fault.path)).toContain(path);
    expect(
      found
        .filter((fault) => fault.path === path)
        .map((fault) => fault.message)
        .join("\n"),
    ).toMatch(message);
  });

  it("are all told at once, of shape, rules, secrets and files", () => {
    const config = {
      ...changed("providers/1", provider({ kind: "entra", issuer: "https://login.microsoftonline.com/common/v2.0" })),
      baseUrl: "http://localhost/",
      trustProxy: "one",
      aws: { region: "us-east-1" },
      tags: {
        team: { required: true, default: "x", from: [{ claim: "a", providers: ["nobody"] }] },
        cc: { from: [], allowed: { file: "no.csv" } },
      },
      redis: undefined,
      nonsense: 1,
    };
    expect(
      faults(config, {})
        .map(({ path }) => path)
        .sort(),
    ).toEqual(
      [
        "aws.roleArn",
        "baseUrl",
        "baseUrl",
        "baseUrl",
        "nonsense",
        "providers[0].clientSecret",
        "providers[1].clientSecret",
        "providers[1].issuer",
        "redis",
        "tags.cc.allowed.file",
        "tags.cc.from",
        "tags.team.default",
        "tags.team.from[0].providers[0]",
        "trustProxy",
      ].sort(),
    );
  });

  it("of one provider don't hide those of another, nor of the tags", () => {
    const config = changed("providers/1", provider({ clientId: undefined, emailDomains: [] }));
    const second = { ...config, tags: { team: { from: [{ claim: "c", pattern: "(" }] } } };
    const paths = faults(second, {}).map(({ path }) => path);
    expect(paths).toEqual(
      expect.arrayContaining([
        "providers[0].clientSecret",
        "providers[1].clientId",
        "providers[1].emailDomains",
        "tags.team.from[0].pattern",
      ]),
    );
  });
});

describe("YAML", () => {
  const bomb = `a: &a [x,x,x,x,x,x,x,x,x,x]\n${["b", "c", "d", "e", "f"]
    .map(
      (name, i) =>
        `${name}: &${name} [${Array(10)
          .fill(`*${"abcdef"[i] ?? ""}`)
          .join(",")}]`,
    )
    .join("\n")}\n`;
  const cases: [name: string, yaml: string, message: RegExp][] = [
    ["a key twice", "environment: production\nenvironment: development\n", /^line 2: .*second time/],
    ["a key twice, deep down", "tags:\n  team:\n    from: []\n  team:\n    from: []\n", /^line 4: .*second time/],
    ["a bracket that does not close", "providers: [\n", /^line \d: /],
    ["a quote that does not close", 'baseUrl: "https://x\n', /^line \d: /],
    ["tabs", "aws:\n\tregion: x\n", /^line 2: indent with spaces/],
    ["two documents", "a: 1\n---\nb: 2\n", /one YAML document/],
    ["a tag of YAML's", "baseUrl: !!binary aGk=\n", /^line 1: YAML tags/],
    ["a tag of nobody's", "baseUrl: !env X\n", /^line 1: YAML tags/],
    ["a key that is a list", "? [a, b]\n: c\n", /^line 1: a key must be plain text/],
    ["an alias without an anchor", "a: *b\n", /line 1: an alias/],
    ["a bomb of aliases", bomb, /aliases/],
    ["an empty file", "", /must be a group of fields/],
    ["a list", "- a\n", /must be a group of fields/],
    ["text", "hello\n", /must be a group of fields/],
  ];
  it.each(cases)("%s", (_name, yaml, message) => {
    expect(
      faults(yaml)
        .map((fault) => fault.message)
        .join("\n"),
    ).toMatch(message);
  });

  it("names no __proto__, wherever", () => {
    const yaml = `${JSON.stringify(productionConfig()).slice(0, -1)}, "access": { "__proto__": [] } }`;
    expect(faults(yaml)).toEqual([{ path: "access", message: expect.stringContaining("__proto__") as string }]);
  });

  it("tells of a file that isn't there", () => {
    expect(() => loadConfig("/nowhere/rolecall.yaml", {})).toThrow(
      /^the file \/nowhere\/rolecall\.yaml can't be read \(ENOENT\)$/,
    );
  });
});

describe("allowed lists in files", () => {
  const cases: [name: string, csv: string | undefined, message: RegExp][] = [
    ["not there", undefined, /can't be read \(ENOENT\)/],
    ["empty", "", /no value below its header/],
    ["only a header", "code\n", /no value below its header/],
    ["a value that AWS refuses", 'code\ncc-1\n"multi\nline",x\n', /^cc\.csv line 4: the tag value may hold/],
    ["a space at the end", "code\ncc-1\ncc-2 ,x\n", /^cc\.csv line 3: the tag value begins or ends with a space/],
    ["nothing in the first column", "code,name\ncc-1,x\n,y\n", /^cc\.csv line 3: the tag value is empty/],
    ["a quote that does not close", 'code\n"cc-1\n', /^cc\.csv line 2 is not CSV/],
  ];
  it.each(cases)("%s", (_name, csv, message) => {
    const config = changed("tags/cost-centre", { from: [{ claim: "c" }], allowed: { file: "cc.csv" } });
    const found = faults(config, productionEnv, csv === undefined ? {} : { "cc.csv": csv });
    expect(found.map(({ path }) => path)).toEqual(["tags.cost-centre.allowed.file"]);
    expect(found[0]?.message).toMatch(message);
  });
});

describe("secrets", () => {
  const cases: [name: string, config: object, env: Env, files: Files, path: string, message: RegExp][] = [
    [
      "a variable that is not set",
      productionConfig(),
      { REDIS_URL: "redis://r" },
      {},
      "providers[0].clientSecret",
      /^the environment variable OKTA_CLIENT_SECRET is not set$/,
    ],
    [
      "an empty one",
      productionConfig(),
      { ...productionEnv, OKTA_CLIENT_SECRET: "" },
      {},
      "providers[0].clientSecret",
      /OKTA_CLIENT_SECRET is empty$/,
    ],
    [
      "a file that isn't there",
      changed("providers/0/clientSecret", { file: "s" }),
      productionEnv,
      {},
      "providers[0].clientSecret",
      /s can't be read \(ENOENT\)$/,
    ],
    [
      "an empty file",
      changed("providers/0/clientSecret", { file: "s" }),
      productionEnv,
      { s: "\n" },
      "providers[0].clientSecret",
      /^the file s is empty$/,
    ],
    [
      "a folder",
      changed("providers/0/clientSecret", { file: "." }),
      productionEnv,
      {},
      "providers[0].clientSecret",
      /EISDIR/,
    ],
    [
      "written into the file",
      changed("providers/0/clientSecret", "hunter2"),
      productionEnv,
      {},
      "providers[0].clientSecret",
      /never stands in this file/,
    ],
    [
      "a reference of both kinds",
      changed("providers/0/clientSecret", { env: "A", file: "b" }),
      productionEnv,
      {},
      "providers[0].clientSecret",
      /\{ env: NAME \}/,
    ],
    [
      "an address of Redis that is none",
      productionConfig(),
      { ...productionEnv, REDIS_URL: "hunter2" },
      {},
      "redis.url",
      /redis:\/\//,
    ],
    [
      "an address of something else",
      productionConfig(),
      { ...productionEnv, REDIS_URL: "https://x" },
      {},
      "redis.url",
      /redis:\/\//,
    ],
    [
      "a key that is none",
      changed("providers/0", {
        ...okta,
        clientSecret: undefined,
        clientAuth: "private_key_jwt",
        clientKey: { env: "KEY" },
      }),
      { ...productionEnv, KEY: "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----" },
      {},
      "providers[0].clientKey",
      /PKCS #8/,
    ],
  ];
  it.each(cases)("%s", (_name, config, env, files, path, message) => {
    const found = faults(config, env, files);
    expect(found.map((fault) => fault.path)).toEqual([path]);
    expect(found[0]?.message).toMatch(message);
    expect(found[0]?.message).not.toContain("hunter2");
  });

  /** Letters that stand in no message by chance. */
  const secret = fc
    .string({ unit: fc.constantFrom(...Array.from("QXZJ0987#:[]{}*&!|>'\"%@` \n")), minLength: 10, maxLength: 30 })
    .map((tail) => `qzxj${tail}jxzq`);
  const nowhere = (found: ConfigFault[], of: string): void => {
    const said = JSON.stringify(found) + new ConfigError(found).message;
    expect(said).not.toContain("qzxj");
    expect(said).not.toContain(of);
  };

  it("stand in no message, whatever they are, behind a reference", () => {
    fc.assert(
      fc.property(secret, (text) => {
        const config = {
          ...changed("providers/0/clientSecret", { file: "s" }),
          basUrl: "x",
          baseUrl: "http://localhost",
        };
        const key = provider({ clientSecret: undefined, clientAuth: "private_key_jwt", clientKey: { env: "KEY" } });
        const found = faults(
          { ...config, providers: [(config as unknown as { providers: object[] }).providers[0], key] },
          { REDIS_URL: text, KEY: text },
          { s: text },
        );
        expect(found.length).toBeGreaterThan(3);
        nowhere(found, text);
      }),
      { numRuns: 200 },
    );
  });

  it("stand in no message when somebody writes them into the file, quoted or not", () => {
    const line = fc.constantFrom(
      "clientSecret",
      "clientKey",
      "issuer",
      "claimsMaxAge",
      "kind",
      "emailDomains",
      "clientAuth",
      "clientId",
      "id",
    );
    fc.assert(
      fc.property(secret, line, fc.boolean(), (text, field, quoted) => {
        const rest = Object.fromEntries(Object.entries(okta).filter(([name]) => name !== field));
        const lines = Object.entries(rest).map(([name, value]) => `    ${name}: ${JSON.stringify(value)}\n`);
        const yaml = `environment: production\nproviders:\n  -\n${lines.join("")}    ${field}: ${quoted ? JSON.stringify(text) : text}\n`;
        nowhere(faults(yaml), text);
      }),
      { numRuns: 500 },
    );
  });
});
