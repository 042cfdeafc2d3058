import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { changed, configFolder, productionEnv, type ConfigFolder } from "../support/config-file.ts";
import { startPostgres, type TestDatabase, type TestPostgres } from "../support/postgres.ts";

const BROKER = fileURLToPath(new URL("../../src/broker.ts", import.meta.url));

interface Finished {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

describe("brokers with their record in PostgreSQL", () => {
  let postgres: TestPostgres;
  let database: TestDatabase;
  let folder: ConfigFolder;
  let config: string;
  const running: ChildProcess[] = [];

  beforeAll(async () => {
    postgres = await startPostgres();
  });

  afterAll(async () => {
    await postgres.remove();
  });

  beforeEach(async () => {
    database = await postgres.database();
    folder = configFolder();
    const ledger = changed("ledger", { url: { env: "DATABASE_URL" } });
    const local = { environment: "development", baseUrl: "http://127.0.0.1:4400", listen: "127.0.0.1:0" };
    config = folder.write("rolecall.yaml", { ...ledger, ...local, redis: undefined });
  });

  afterEach(async () => {
    for (const child of running.splice(0)) child.kill("SIGKILL");
    await database.drop();
    folder[Symbol.dispose]();
  });

  function start(...args: string[]): ChildProcess {
    const env = { ...process.env, ...productionEnv, DATABASE_URL: database.broker };
    const child = spawn(process.execPath, [BROKER, ...args, "--config", config], { env });
    running.push(child);
    return child;
  }

  /** Runs until it ends. No secret is in what it says. */
  async function finish(child: ChildProcess): Promise<Finished> {
    let [out, err] = ["", ""];
    child.stdout?.on("data", (text: Buffer) => (out += text.toString()));
    child.stderr?.on("data", (text: Buffer) => (err += text.toString()));
    const [code] = (await once(child, "close")) as [number | null];
    expect(out + err).not.toMatch(/hunter2|postgres:\/\//);
    return { code, out, err };
  }

  async function serve(): Promise<{ child: ChildProcess; port: number; finished: Promise<Finished> }> {
    const child = start("serve");
    const finished = finish(child);
    for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
      const { msg, port } = JSON.parse(line) as { msg?: string; port?: number };
      if (msg === "listening" && port !== undefined) return { child, port, finished };
    }
    throw new Error((await finished).err);
  }

  it("several at once keep one record, which operators read", async () => {
    const brokers = await Promise.all([serve(), serve()]);
    for (const { child, finished } of brokers) {
      child.kill("SIGTERM");
      expect(await finished).toMatchObject({ code: 0, err: "" });
    }
    const verified = await finish(start("audit", "verify", "--json"));
    expect(verified).toMatchObject({ code: 0, err: "" });
    expect(JSON.parse(verified.out)).toMatchObject({ ok: true, erased: 0 });
    const exported = await finish(start("audit", "export"));
    const types = exported.out.trimEnd().split("\n");
    expect(types.filter((line) => line.includes('"config.changed"'))).toHaveLength(2);
    expect(await finish(start("ledger", "copy"))).toMatchObject({
      code: 2,
      err: expect.stringMatching(/no ledger at/) as string,
    });
  });

  it("is not ready while PostgreSQL is away, and again when it is back", async () => {
    const { child, port, finished } = await serve();
    const ready = async (): Promise<number> => (await fetch(`http://127.0.0.1:${port}/readyz`)).status;
    expect(await ready()).toBe(200);
    await postgres.stop("fast");
    expect(await ready()).toBe(503);
    await postgres.start();
    expect(await ready()).toBe(200);
    child.kill("SIGTERM");
    expect(await finished).toMatchObject({ code: 0 });
  });

  it("don't start where the record can't be had, and say why", async () => {
    await database.query("drop table meta");
    const { code, err } = await finish(start("serve"));
    expect([code, err]).toEqual([1, expect.stringMatching(/in PostgreSQL can't be opened: the ledger's tables/)]);
    const audit = await finish(start("audit", "verify"));
    expect(audit).toMatchObject({ code: 1, err: expect.stringMatching(/the ledger's tables are not there/) as string });
  });
});
