import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { jsonSchemaText } from "../../scripts/json-schema.ts";
import { reasonsText } from "../../scripts/reasons.ts";
import { loadConfig } from "../../src/config/load.ts";
import { configSchema } from "../../src/config/schema.ts";

function file(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
}

describe("what is written from the source is up to date", () => {
  it("rolecall.schema.json (node scripts/json-schema.ts)", async () => {
    expect(file("rolecall.schema.json")).toBe(await jsonSchemaText());
  });

  it("docs/reasons.md (node scripts/reasons.ts)", () => {
    expect(file("docs/reasons.md")).toBe(reasonsText());
  });
});

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
}

function fieldNames(schema: JsonSchema): string[] {
  const below = Object.entries(schema.properties ?? {}).flatMap(([name, field]) => [name, ...fieldNames(field)]);
  const others = [schema.items, schema.additionalProperties, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])];
  return [...below, ...others.flatMap((other) => (typeof other === "object" ? fieldNames(other) : []))];
}

describe("docs/configuration.md", () => {
  const names = new Set(fieldNames(z.toJSONSchema(configSchema, { io: "input" }) as JsonSchema));
  it.each([...names])("tells of %s", (name) => {
    expect(file("docs/configuration.md")).toMatch(new RegExp(`\`(?:[\\w.[\\]]*\\.)?${name}\``));
  });

  it("shows a configuration that editors and the check know the fields of", () => {
    const shown = /```yaml\n(?<yaml>[^]*?)```/.exec(file("docs/configuration.md"))?.groups?.["yaml"] ?? "";
    expect(configSchema.safeParse(parse(shown)).error).toBeUndefined();
  });
});

describe("the examples pass the check, in production", () => {
  const env = {
    OKTA_CLIENT_SECRET: "x",
    ENTRA_CLIENT_SECRET: "x",
    AUTH0_CLIENT_SECRET: "x",
    REDIS_URL: "rediss://redis",
  };
  it.each(["okta", "entra", "auth0"])("%s.yaml", (name) => {
    const path = `examples/${name}.yaml`;
    const config = loadConfig(new URL(`../../${path}`, import.meta.url).pathname, env);
    expect(config).toMatchObject({ environment: "production", providers: [{ id: name, kind: name }] });
    expect(file(path)).toMatch(/^# yaml-language-server: \$schema=\.\.\/rolecall\.schema\.json\n/);
  });
  it.each(["okta", "entra", "auth0"])("%s-saml.yaml", (name) => {
    const path = `examples/${name}-saml.yaml`;
    const config = loadConfig(new URL(`../../${path}`, import.meta.url).pathname, env);
    expect(config).toMatchObject({ environment: "production", providers: [{ kind: name, protocol: "saml" }] });
    expect(file(path)).toMatch(/^# yaml-language-server: \$schema=\.\.\/rolecall\.schema\.json\n/);
  });
});
