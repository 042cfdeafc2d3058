import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { expect, test } from "vitest";
import { printTemplate, TEMPLATE_NAMES } from "../../src/operator/template.ts";
import { changed, configFolder } from "../support/config-file.ts";

const example = (name: string): string => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));

async function run(name: string, config: string): Promise<{ code: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const io = { env: {}, out: (text: string) => void (out += text), err: (text: string) => void (err += text) };
  return { code: await printTemplate(name, { config }, io), out, err };
}

test.each(["okta.yaml", "entra.yaml", "auth0.yaml"])("prints the role for %s, without its secrets", async (file) => {
  const { code, out, err } = await run("aws/role", example(file));
  expect([code, err]).toEqual([0, ""]);
  expect(parse(out)).toHaveProperty("Resources.SharedRole.Properties.AssumeRolePolicyDocument");
});

test("prints the ledger's tables as psql takes them", async () => {
  const { code, out, err } = await run("postgres/ledger", example("okta.yaml"));
  expect([code, err]).toEqual([0, ""]);
  expect(out).toBe(readFileSync(new URL("../../templates/postgres/ledger.sql", import.meta.url), "utf8"));
});

test("by SAML there must be the key whose certificate AWS is to have", async () => {
  using folder = configFolder();
  const samlProviderArn = "arn:aws:iam::111122223333:saml-provider/Rolecall";
  const config = changed("aws/federation", "saml");
  Object.assign(config["aws"] as object, { samlProviderArn });
  const { code, out, err } = await run("aws/role", folder.write("rolecall.yaml", config));
  expect([code, out]).toEqual([1, ""]);
  expect(err).toMatch(/^error: .*keys.json has no saml key yet: the broker makes it at its first start\n$/);
});

test("an unknown name is wrong usage, and the names are told", async () => {
  const { code, out, err } = await run("aws/rol", example("okta.yaml"));
  expect([code, out]).toEqual([2, ""]);
  expect(err).toBe(`there is no template of that name\nhint: choose one of ${TEMPLATE_NAMES.join(", ")}\n`);
  expect(TEMPLATE_NAMES).toEqual(expect.arrayContaining(["aws/role", "postgres/ledger", "idp/generic-saml"]));
});

test("a faulty configuration prints its faults and no template", async () => {
  const folder = await mkdtemp(join(tmpdir(), "rolecall-template-"));
  const config = join(folder, "rolecall.yaml");
  await writeFile(config, "environment: production\n");
  const { code, out, err } = await run("aws/role", config);
  await rm(folder, { recursive: true });
  expect([code, out]).toEqual([1, ""]);
  expect(err).toContain("baseUrl: is missing");
});
