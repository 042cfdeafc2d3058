import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { buildImage, readDockerfile, ROOT } from "../support/image.ts";
import { configFolder, productionConfig } from "../support/config-file.ts";

let folder: string;
let app: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rolecall-image-"));
  app = await buildImage(folder);
}, 240_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

const filesIn = (path: string): Promise<string[]> => readdir(path, { recursive: true });

describe("the image", () => {
  it("holds the broker, its templates and its packages, and nothing that is for building, trying or testing", async () => {
    expect((await readdir(app)).sort()).toEqual(["LICENSE", "dist", "node_modules", "package.json", "templates"]);
    const files = (await filesIn(app)).filter((file) => !file.startsWith("node_modules/"));
    expect(files.filter((file) => /sandbox|\.test\.|\.ts$|secret|\.pem$|ledger\.db|keys\.json$/.test(file))).toEqual(
      [],
    );
    expect(files).toContain("dist/broker.js");
    expect(files).not.toContain("dist/cli/login.js");
    for (const name of ["typescript", "vitest", "esbuild", "node", "npm", "playwright-core", "@cloud-copilot"]) {
      expect(await readdir(join(app, "node_modules"))).not.toContain(name);
    }
  });

  it("runs as somebody who is not root, without npm, and holds no secret in its environment", async () => {
    const image = (await readDockerfile()).at(-1)?.instructions ?? [];
    const said = (name: string): string[] => image.filter((line) => line.name === name).map(({ text }) => text);
    expect(said("USER")).toEqual(["node"]);
    expect(said("ENV")).toEqual(["NODE_ENV=production"]);
    expect(said("ARG")).toEqual([]);
    const removed = said("RUN").join(" ");
    for (const path of ["/usr/local/lib/node_modules", "/usr/local/bin/npm", "/usr/local/bin/npx"]) {
      expect(removed).toContain(path);
    }
    for (const { instructions } of await readDockerfile()) {
      expect(instructions[0]?.text).toMatch(/^node:24\.\d+\.\d+-slim\b/);
    }
  });

  it("starts, is healthy by its own check, writes nothing beside its state, and stops when told to", async () => {
    using config = configFolder();
    const file = config.write("rolecall.yaml", {
      ...productionConfig(),
      environment: "development",
      baseUrl: "http://127.0.0.1:4400",
      listen: "127.0.0.1:0",
      redis: undefined,
    });
    const before = await filesIn(app);
    const broker = spawn(process.execPath, [join(app, "dist/broker.js"), "serve", "--config", file], {
      cwd: "/",
      env: { NODE_ENV: "production", OKTA_CLIENT_SECRET: "secret" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = once(broker, "exit");
    try {
      const port = await portOf(broker.stdout);
      expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
      expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toContain('href="/login/okta"');
      expect(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).toContain("rolecall_ledger_writable 1");
      expect(await healthCheck(port)).toBe(0);
      broker.kill("SIGTERM");
      expect(await exited).toEqual([0, null]);
      expect(await healthCheck(port)).toBe(1);
      expect(await filesIn(app)).toEqual(before);
    } finally {
      broker.kill("SIGKILL");
    }
  });
});

/** The port that the broker's log says. */
async function portOf(output: NodeJS.ReadableStream): Promise<number> {
  for await (const line of createInterface({ input: output })) {
    const { msg, port } = JSON.parse(line) as { msg: string; port?: number };
    if (msg === "listening" && port !== undefined) {
      output.resume();
      return port;
    }
  }
  throw new Error("the broker did not start");
}

/** The exit code of the image's HEALTHCHECK, asked of `port`. */
async function healthCheck(port: number): Promise<unknown> {
  const image = (await readDockerfile()).at(-1)?.instructions ?? [];
  const check = image.find(({ name }) => name === "HEALTHCHECK")?.text ?? "";
  const [program, ...args] = JSON.parse(check.slice(check.indexOf("["))) as string[];
  expect(program).toBe("node");
  const asked = args.map((arg) => arg.replace(":4400/", `:${port}/`));
  expect(asked).not.toEqual(args);
  return promisify(execFile)(process.execPath, asked).then(
    () => 0,
    (error: unknown) => (error as { code: unknown }).code,
  );
}

interface Service {
  readonly image: string;
  readonly ports?: readonly string[];
  readonly environment?: unknown;
  readonly env_file?: unknown;
  readonly secrets: readonly string[];
  readonly networks: readonly string[];
  readonly [key: string]: unknown;
}

describe("docker-compose.yml", async () => {
  const compose = parse(await readFile(join(ROOT, "docker-compose.yml"), "utf8")) as {
    services: Record<string, Service>;
    secrets: Record<string, { file: string }>;
    networks: Record<string, { internal?: boolean }>;
    volumes: Record<string, unknown>;
  };

  it.each(Object.entries(compose.services))("%s can do no more than it must", (_name, service) => {
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ["ALL"],
      security_opt: ["no-new-privileges:true"],
      healthcheck: { test: expect.any(Array) as unknown[] },
      pids_limit: expect.any(Number) as number,
      mem_limit: expect.any(String) as string,
    });
    expect(service["privileged"]).toBeUndefined();
    expect(service["cap_add"]).toBeUndefined();
    expect(service.environment ?? service.env_file).toBeUndefined();
    expect(service.image).toMatch(/:\d+\.\d+\.\d+(-alpine)?$/);
    for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/);
    for (const secret of service.secrets) expect(compose.secrets[secret]?.file).toMatch(/^\.\/secrets\//);
    for (const network of service.networks) expect(compose.networks).toHaveProperty(network);
  });

  it("keeps Redis where nobody but the broker is, and asks the broker as the image does", async () => {
    const { broker, redis } = compose.services;
    expect(redis?.networks).toEqual(["store"]);
    expect(compose.networks["store"]?.internal).toBe(true);
    expect(redis?.ports).toBeUndefined();
    const image = (await readDockerfile()).at(-1)?.instructions ?? [];
    const check = image.find(({ name }) => name === "HEALTHCHECK")?.text ?? "";
    const test = (broker?.["healthcheck"] as { test: string[] }).test;
    expect(test).toEqual(["CMD", ...(JSON.parse(check.slice(check.indexOf("["))) as string[])]);
  });

  it("puts nothing of config/ and secrets/ into git or the image", async () => {
    const ignored = await readFile(join(ROOT, ".gitignore"), "utf8");
    for (const path of ["/config/", "/secrets/"]) expect(ignored.split("\n")).toContain(path);
  });
});
