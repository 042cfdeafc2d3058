import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { broker, startCompany, type Company } from "../support/company.ts";
import { attack } from "../support/ledger-attacker.ts";

const EXAMPLES = fileURLToPath(new URL("../../examples/", import.meta.url));

describe("on the examples", () => {
  test.for(["okta", "entra", "auth0"])("explain says what %s's claims become, and why", async (kind) => {
    const config = join(EXAMPLES, `${kind}.yaml`);
    const claims = join(EXAMPLES, "claims", `${kind}.json`);
    const run = await broker("explain", "--config", config, "--provider", kind, "--claims", claims, "--json");
    expect(run).toMatchObject({ code: 0, stderr: "" });
    const told = JSON.parse(run.stdout) as { tags: object; trace: { outcome: string }[] };
    expect(Object.keys(told.tags).sort()).toEqual(["cost-centre", "team"]);
    expect(told.trace.filter(({ outcome }) => outcome === "spoke")).toHaveLength(2);
  });

  test("explain exits 1 with the reason where a required tag is missing", async () => {
    const folder = await mkdtemp(join(tmpdir(), "rolecall-explain-"));
    const claims = join(folder, "claims.json");
    await writeFile(claims, '{"sub": "00u1", "email": "nora@acme.example", "email_verified": true}');
    const run = await broker(
      "explain",
      "--config",
      join(EXAMPLES, "okta.yaml"),
      "--provider",
      "okta",
      "--claims",
      claims,
    );
    expect(run.code).toBe(1);
    expect(run.stderr).toContain("tag_missing");
    expect(run.stdout).toContain("no claim");
    await rm(folder, { recursive: true });
  });

  test("wrong usage exits 2, a configuration with faults 1", async () => {
    expect(await broker("explain")).toMatchObject({ code: 2 });
    expect(await broker("audit", "export", "--format", "xml")).toMatchObject({ code: 2 });
    const check = await broker("check", "--config", join(EXAMPLES, "okta.yaml"));
    expect(check.code).toBe(1);
    expect(check.stderr).toContain("OKTA_CLIENT_SECRET");
    expect(check.stderr).toContain("REDIS_URL");
  });
});

test.for(["verify", "export", "tail"])("audit %s says what is missing where no broker has run yet", async (command) => {
  const folder = await mkdtemp(join(tmpdir(), "rolecall-audit-"));
  const config = join(folder, "rolecall.yaml");
  const example = await readFile(join(EXAMPLES, "okta.yaml"), "utf8");
  await writeFile(config, example.replace("/var/lib/rolecall", "state"));
  await copyFile(join(EXAMPLES, "cost-centres.csv"), join(folder, "cost-centres.csv"));
  const run = await broker("audit", command, "--config", config);
  expect(run).toMatchObject({ code: 2, stdout: "" });
  expect(run.stderr).toMatch(/^error: there is no file .*ledger\.db\nhint: .*stateDir/);
  await rm(folder, { recursive: true });
});

describe("on the record of a running broker", () => {
  let company: Company;
  beforeAll(async () => {
    company = await startCompany();
    const jane = await company.employee("okta", "Jane");
    await jane.run(["credentials"]);
  });
  afterAll(() => company.close());

  test("verify: whole, by the broker's own key; a row changed by hand is named", async () => {
    const verify = (): Promise<{ code: number; stdout: string; stderr: string }> =>
      broker("audit", "verify", "--config", company.configFile);
    const whole = await verify();
    expect(whole).toMatchObject({ code: 0, stderr: "" });
    expect(whole.stdout).toContain("completeness not proven");

    const issued = (await company.rows()).find(({ type }) => type === "credentials.issued");
    const edit = (from: string, to: string): void => {
      attack(join(company.folder, "ledger.db"), (db) => {
        db.run("update rows set row = replace(row, ?, ?) where seq = ?", from, to, issued?.seq ?? 0);
      });
    };
    edit("cc-1042", "cc-9999");
    const changed = await verify();
    expect(changed.code).toBe(1);
    expect(changed.stderr).toContain(`row ${issued?.seq}`);
    edit("cc-9999", "cc-1042");
    expect(await verify()).toMatchObject({ code: 0 });
  });

  test("export: every row with who and why, and no secret", async () => {
    const { stdout } = await broker("audit", "export", "--config", company.configFile);
    const rows = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { type: string });
    expect(rows.map(({ type }) => type)).toEqual(
      expect.arrayContaining(["config.changed", "identity.bound", "login.succeeded", "credentials.issued"]),
    );
    expect(stdout).not.toMatch(/eyJ[\w-]{10,}\.|SecretAccessKey|SessionToken/);
  });
});
