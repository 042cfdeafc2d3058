import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConfigError, type ConfigFault } from "../../src/config/config-error.ts";
import {
  changed,
  faults,
  okta,
  productionConfig,
  productionEnv,
  provider,
  type Env,
  type Files,
} from "../support/config-file.ts";

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
    ...(
      [
        ["none", "hunter2", /postgres:\/\//],
        ["something else's", "https://hunter2@db/rolecall", /postgres:\/\//],
        ["one without a database", "postgres://rolecall:hunter2@db", /DATABASE/],
        ["one without a user", "postgres://db/rolecall", /USER/],
        ["one with half an escape", "postgres://rolecall:hunter2%@db/rolecall", /postgres:\/\//],
        ["one that does not say whether by TLS, in production", "postgres://rolecall:hunter2@db/rolecall", /sslmode/],
        ["one with TLS that checks no name", "postgres://rolecall:hunter2@db/rolecall?sslmode=require", /verify-full/],
        ["one that lifts limits", "postgres://rolecall:hunter2@db/rolecall?statement_timeout=0", /parameters/],
        [
          "one with a relative path",
          "postgres://rolecall:hunter2@db/rolecall?sslmode=verify-full&sslrootcert=ca.pem",
          /absolute/,
        ],
      ] as const
    ).map(([what, url, message]): (typeof cases)[number] => [
      `an address of PostgreSQL that is ${what}`,
      changed("ledger", { url: { env: "DATABASE_URL" } }),
      { ...productionEnv, DATABASE_URL: url },
      {},
      "ledger.url",
      message,
    ]),
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

  /** Letters that stand in no message by chance, among all that means something to YAML. */
  const marks = fc.constantFrom(...Array.from("QXZ0#:[]{}*&!|>'\"%@` "));
  const secret = fc
    .tuple(
      fc.string({ unit: marks, maxLength: 2 }),
      fc.string({ unit: fc.oneof(marks, fc.constant("\n")), maxLength: 20 }),
    )
    .map(([head, tail]) => `${head}qzxj${tail}jxzq`);
  const nowhere = (found: ConfigFault[], of: string): void => {
    const said = JSON.stringify(found) + new ConfigError(found, { sha256: undefined, files: [] }).message;
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
