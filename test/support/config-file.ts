import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Config } from "../../src/config/config.ts";
import { ConfigError, type ConfigFault } from "../../src/config/config-error.ts";
import { loadConfig } from "../../src/config/load.ts";

/** A fresh folder that ends with the test: use it with `using`. */
export interface ConfigFolder extends Disposable {
  readonly path: string;
  /** Writes `name` there, objects as YAML; returns the file's path. */
  write(name: string, content: string | object): string;
}

export function configFolder(): ConfigFolder {
  const path = mkdtempSync(join(tmpdir(), "rolecall-config-"));
  return {
    path,
    write(name, content) {
      const file = join(path, name);
      writeFileSync(file, typeof content === "string" ? content : stringify(content, { aliasDuplicateObjects: false }));
      return file;
    },
    [Symbol.dispose]: () => {
      rmSync(path, { recursive: true, force: true });
    },
  };
}

/** A configuration for production that has no fault, as plain data to change; the environment that it needs is beside it. */
export function productionConfig(): Record<string, unknown> {
  return {
    environment: "production",
    baseUrl: "https://rolecall.acme.example",
    stateDir: "state",
    aws: { region: "us-east-1", roleArn: "arn:aws:iam::111122223333:role/BedrockShared" },
    providers: [
      {
        id: "okta",
        kind: "okta",
        protocol: "oidc",
        issuer: "https://acme.okta.com",
        clientId: "0oa1b2c3",
        clientSecret: { env: "OKTA_CLIENT_SECRET" },
        emailDomains: ["acme.example"],
      },
    ],
    tags: { team: { required: true, from: [{ claim: "groups", match: { "bedrock-search": "search" } }] } },
    redis: { url: { env: "REDIS_URL" } },
  };
}

export const productionEnv = {
  OKTA_CLIENT_SECRET: "okta-secret",
  REDIS_URL: "rediss://:redis-secret@redis.acme.example",
};

export type Env = Readonly<Record<string, string | undefined>>;
export type Files = Readonly<Record<string, string>>;

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

/** What a configuration loads as; it has no fault. */
export function taken(config: string | object, env?: Env, files?: Files): Config {
  const result = load(config, env, files);
  if (Array.isArray(result)) throw new Error(JSON.stringify(result));
  return result;
}

/** Every fault of a configuration; none where it loads. */
export function faults(config: string | object, env?: Env, files?: Files): ConfigFault[] {
  const result = load(config, env, files);
  return Array.isArray(result) ? result : [];
}

/** The configuration without fault, with `value` at `path`; undefined takes the field out. */
export function changed(path: string, value: unknown): Record<string, unknown> {
  const config = productionConfig();
  const steps = path.split("/");
  let at = config;
  for (const step of steps.slice(0, -1)) at = (at[step] ??= {}) as Record<string, unknown>;
  const last = steps.at(-1) ?? "";
  if (value === undefined) Reflect.deleteProperty(at, last);
  else at[last] = value;
  return config;
}

/** The one provider of {@link productionConfig}. */
export const okta = (productionConfig()["providers"] as Record<string, unknown>[])[0] ?? {};
/** A second provider that goes with it. */
export const provider = (over: object): object => ({
  ...okta,
  id: "second",
  emailDomains: ["second.example"],
  ...over,
});
export const TENANT = "3f2a8c1e-5b7d-4e90-a1c4-9d8e7f605b21";
export const entra = (issuer: string): object => provider({ kind: "entra", issuer });
