import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";

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
