import { describe, expect, it } from "vitest";
import { ConfigInForce } from "../../src/config-in-force.ts";
import type { Config } from "../../src/config/config.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { AuditEvent } from "../../src/flow/audit-event.ts";
import { Refusal } from "../../src/flow/errors.ts";
import { changed, configFolder, okta, productionConfig, productionEnv, taken } from "../support/config-file.ts";
import { recordingLog } from "../support/log.ts";

/** One state folder, since each file is in a folder of its own. */
const good = (over: object = {}): Config => taken({ ...productionConfig(), stateDir: "/var/lib/rolecall", ...over });
const START = good();
const tags = (value: string): object => ({ team: { from: [{ claim: "groups", match: { "bedrock-search": value } }] } });
const OTHER = good({ tags: tags("other") });
const THIRD = good({ tags: tags("third") });

interface Story {
  readonly inForce: ConfigInForce;
  readonly rows: AuditEvent[];
  readonly ledger: { down: boolean; append(event: AuditEvent): Promise<{ seq: number }> };
  readonly log: ReturnType<typeof recordingLog>;
  readonly reload: (load: () => Config) => ReturnType<ConfigInForce["reload"]>;
}

function story(): Story {
  const inForce = new ConfigInForce(START);
  const log = recordingLog();
  const rows: AuditEvent[] = [];
  const ledger = {
    down: false,
    append(event: AuditEvent) {
      if (ledger.down) return Promise.reject(new Refusal("ledger_unavailable", "no disk"));
      return Promise.resolve({ seq: rows.push(event) });
    },
  };
  return { inForce, rows, ledger, log, reload: (load) => inForce.reload(load, { ledger, log }) };
}

function faulty(): never {
  using folder = configFolder();
  loadConfig(folder.write("rolecall.yaml", changed("tags", { team: { from: [], pattern: 1 } })), productionEnv);
  throw new Error("it has no fault");
}

describe("a file whose tags or access have changed", () => {
  it("counts from when it is in the record, with its digest", async () => {
    const { inForce, rows, reload } = story();
    expect(await reload(() => OTHER)).toBe("taken");
    expect(inForce.mapping).toBe(OTHER.mapping);
    const { sha256: configSha256 } = OTHER.source;
    const { version: mappingVersion } = OTHER.mapping;
    expect(configSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(rows).toEqual([
      { type: "config.changed", configSha256, mappingVersion, outcome: "success", actor: "reload" },
    ]);
  });

  it("is recorded also where access alone has changed", async () => {
    const { rows, reload } = story();
    const access = { auditor: [{ provider: "okta", claim: "groups", match: ["audit"] }] };
    expect(await reload(() => good({ access }))).toBe("taken");
    expect(rows).toHaveLength(1);
  });

  it("is not taken while the record can't be written, and is when it can", async () => {
    const { inForce, rows, ledger, log, reload } = story();
    ledger.down = true;
    expect(await reload(() => OTHER)).toBe("unrecorded");
    expect(inForce.mapping).toBe(START.mapping);
    expect(inForce.upToDate).toBe(false);
    expect(log.lines).toMatchObject([{ level: "error", fields: { reason: "ledger_unavailable" } }]);
    ledger.down = false;
    expect(await reload(() => OTHER)).toBe("taken");
    expect([inForce.mapping, inForce.upToDate, rows.length]).toEqual([OTHER.mapping, true, 1]);
  });

  it("comes after the one before, whichever is recorded faster", async () => {
    const { inForce, rows, ledger, log } = story();
    const { promise: slow, resolve } = Promise.withResolvers<undefined>();
    const slowly = { append: (event: AuditEvent) => slow.then(() => ledger.append(event)) };
    const first = inForce.reload(() => OTHER, { ledger: slowly, log });
    const second = inForce.reload(() => THIRD, { ledger, log });
    resolve(undefined);
    expect(await Promise.all([first, second])).toEqual(["taken", "taken"]);
    expect(inForce.mapping).toBe(THIRD.mapping);
    expect(rows.map((row) => row.mappingVersion)).toEqual([OTHER.mapping.version, THIRD.mapping.version]);
  });
});

it("nothing is recorded of a file that says the same", async () => {
  const { rows, log, reload } = story();
  expect(await reload(() => good())).toBe("unchanged");
  expect([rows, log.lines]).toEqual([[], []]);
});

describe("a file with faults", () => {
  it("leaves the last good one, says every fault, and is one row while it stays so", async () => {
    const { inForce, rows, log, reload } = story();
    await reload(() => OTHER);
    expect([await reload(faulty), await reload(faulty)]).toEqual(["refused", "refused"]);
    expect([inForce.mapping, inForce.upToDate]).toEqual([OTHER.mapping, false]);
    expect(rows.slice(1)).toEqual([
      {
        type: "config.changed",
        mappingVersion: OTHER.mapping.version,
        configSha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
        outcome: "refused",
        reason: "config_invalid",
        actor: "reload",
      },
    ]);
    const said = log.lines.filter(({ level }) => level === "error");
    expect(said).toHaveLength(1);
    expect(said[0]?.fields["faults"]).toEqual([expect.objectContaining({ path: "tags.team.pattern" }) as object]);

    expect(await reload(() => OTHER)).toBe("unchanged");
    expect(inForce.upToDate).toBe(true);
    await reload(faulty);
    expect(rows).toHaveLength(3);
  });

  it("is recorded later where the record can't be written at once", async () => {
    const { rows, ledger, reload } = story();
    ledger.down = true;
    expect(await reload(faulty)).toBe("unrecorded");
    ledger.down = false;
    expect(await reload(faulty)).toBe("refused");
    expect(rows).toHaveLength(1);
  });

  it("is recorded without a digest where it can't be read", async () => {
    const { rows, reload } = story();
    expect(await reload(() => loadConfig("/nonexistent/rolecall.yaml", {}))).toBe("refused");
    expect(rows[0]).toMatchObject({ outcome: "refused" });
    expect(rows[0]).not.toHaveProperty("configSha256");
  });
});

it("other fields wait for a restart, by name and once, whatever the tags do", async () => {
  const { log, rows, reload } = story();
  const provider = { ...okta, clientId: "another", emailDomains: ["new.example"] };
  const later = {
    ...productionConfig(),
    stateDir: START.stateDir,
    signInMaxAge: "1h",
    providers: [provider],
    tags: tags("other"),
  };
  const env = { ...productionEnv, REDIS_URL: "rediss://:new-secret@redis.acme.example" };
  expect(await reload(() => taken(later, env))).toBe("taken");
  expect(await reload(() => taken(later, env))).toBe("unchanged");
  const waits = log.lines.filter(({ level }) => level === "warn");
  expect(waits.map(({ fields }) => fields)).toEqual([{ fields: ["providers", "signInMaxAge", "redis"] }]);
  expect(JSON.stringify([log.lines, rows])).not.toContain("secret");
});

it("a fault of the program is the caller's, and the next reload works", async () => {
  const { inForce, reload } = story();
  await expect(
    reload(() => {
      throw new TypeError("a fault");
    }),
  ).rejects.toThrow(TypeError);
  expect(await reload(() => OTHER)).toBe("taken");
  expect(inForce.mapping).toBe(OTHER.mapping);
});
