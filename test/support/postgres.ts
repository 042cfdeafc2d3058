import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chownSync, globSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "pg";

const LEDGER_SQL = fileURLToPath(new URL("../../templates/postgres/ledger.sql", import.meta.url));
const PASSWORD = "postgres-hunter2";

/** A database with a ledger's tables, which `owner` has made; `broker` may add and read. */
export interface TestDatabase {
  readonly name: string;
  readonly broker: string;
  readonly owner: string;
  /** As the server's administrator. */
  query(sql: string, parameters?: unknown[]): Promise<Record<string, unknown>[]>;
  /** A session of the administrator's own, until the test ends it. */
  session(): Promise<Client>;
  drop(): Promise<void>;
}

/** A real PostgreSQL on a free port of 127.0.0.1, in a temporary folder. */
export interface TestPostgres {
  readonly port: number;
  /** Certificate of the server's name `localhost`, which signs itself; only with `tls`. */
  readonly certificate: string;
  database(options?: { tables?: boolean; settings?: string; encoding?: string }): Promise<TestDatabase>;
  /** Ends it: as an administrator would, or as a crash does. It starts again on the same port. */
  stop(how: "fast" | "crash"): Promise<void>;
  start(): Promise<void>;
  /** Ends it and removes its folder. */
  remove(): Promise<void>;
}

/** `fsync`: waits for the disk, for a benchmark. */
export async function startPostgres(options: { tls?: boolean; fsync?: boolean } = {}): Promise<TestPostgres> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "rolecall-postgres-"));
  const certificate = join(folder, "server.crt");
  initialise(folder, options.tls === true);
  let server: ChildProcess | undefined;
  let databases = 0;
  const url = (role: "broker" | "owner" | "postgres", database: string): string =>
    `postgres://${role}:${PASSWORD}@127.0.0.1:${port}/${database}`;

  const postgres: TestPostgres = {
    port,
    certificate,
    async start() {
      server = await spawnServer(folder, port, options);
    },
    async stop(how) {
      if (server === undefined) return;
      const ended = once(server, "exit");
      server.kill(how === "fast" ? "SIGINT" : "SIGQUIT");
      server = undefined;
      await ended;
    },
    async database({ tables = true, settings, encoding = "UTF8" } = {}) {
      const name = `ledger${(databases += 1)}`;
      const admin = url("postgres", "postgres");
      await run(admin, `create database ${name} owner owner encoding '${encoding}' template template0`);
      const session = async (): Promise<Client> => await connected(url("postgres", name));
      if (tables) makeTables(url("owner", name));
      if (settings !== undefined) await run(admin, `alter database ${name} set ${settings}`);
      return {
        name,
        broker: url("broker", name),
        owner: url("owner", name),
        session,
        query: (sql, parameters) => run(url("postgres", name), sql, parameters),
        drop: async () => {
          await run(admin, `drop database ${name} with (force)`);
        },
      };
    },
    async remove() {
      await postgres.stop("crash");
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await postgres.start();
  await run(url("postgres", "postgres"), `create role owner login password '${PASSWORD}'`);
  await run(url("postgres", "postgres"), `create role broker login password '${PASSWORD}'`);
  return postgres;
}

/** Runs templates/postgres/ledger.sql with psql, as docs/ledger.md says. */
export function makeTables(owner: string): void {
  execFileSync(program("psql"), [owner, "-q", "-X", "-v", "broker=broker", "-f", LEDGER_SQL], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, PGOPTIONS: "-c client_min_messages=warning" },
  });
}

/** Debian keeps each version's programs in a folder of their own. */
function program(name: string): string {
  const folders = globSync("/usr/lib/postgresql/*/bin/initdb").map((path) => dirname(path));
  const newest = folders.toSorted((a, b) => parseFloat(basename(dirname(a))) - parseFloat(basename(dirname(b)))).at(-1);
  return join(newest ?? "", name);
}

/** PostgreSQL refuses to run as root: then it runs as the user that Debian's package made for it. */
function account(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (flag: string): number => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}

function initialise(folder: string, tls: boolean): void {
  const user = account();
  const secret = join(folder, "password");
  writeFileSync(secret, PASSWORD);
  if (tls) makeCertificate(folder);
  if (user) for (const file of [".", ...readdirSync(folder)]) chownSync(join(folder, file), user.uid, user.gid);
  const settings = ["--username=postgres", `--pwfile=${secret}`, "--auth=scram-sha-256", "--encoding=UTF8"];
  execFileSync(program("initdb"), ["--pgdata", join(folder, "data"), ...settings, "--no-locale", "--no-sync"], {
    ...user,
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (tls)
    writeFileSync(
      join(folder, "data", "pg_hba.conf"),
      "hostssl all broker 127.0.0.1/32 scram-sha-256\nhost all postgres,owner 127.0.0.1/32 scram-sha-256\n",
    );
}

function makeCertificate(folder: string): void {
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const files = ["-keyout", join(folder, "server.key"), "-out", join(folder, "server.crt")];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  execFileSync("openssl", ["req", ...kind, ...names, ...files], { stdio: "ignore" });
}

async function spawnServer(
  folder: string,
  port: number,
  { tls = false, fsync = false }: { tls?: boolean; fsync?: boolean },
): Promise<ChildProcess> {
  // What is killed here are processes, not the machine: the disk need not be waited for.
  const settings = { listen_addresses: "127.0.0.1", unix_socket_directories: folder, fsync: fsync ? "on" : "off" };
  const secure = { ssl: "on", ssl_cert_file: join(folder, "server.crt"), ssl_key_file: join(folder, "server.key") };
  const flags = Object.entries({ ...settings, ...(tls && secure) }).flatMap(([key, value]) => [
    "-c",
    `${key}=${value}`,
  ]);
  const server = spawn(program("postgres"), ["-D", join(folder, "data"), "-p", String(port), ...flags], {
    ...account(),
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
  });
  // A test run that is interrupted leaves no server behind.
  const kill = (): void => void server.kill("SIGQUIT");
  process.once("exit", kill);
  server.once("exit", () => process.off("exit", kill));
  server.stderr.setEncoding("utf8");
  let said = "";
  for await (const chunk of server.stderr.iterator({ destroyOnReturn: false })) {
    said += String(chunk);
    if (said.includes("database system is ready to accept connections")) {
      server.stderr.resume();
      return server;
    }
  }
  throw new Error(`PostgreSQL did not start:\n${said}`);
}

async function connected(url: string): Promise<Client> {
  const client = new Client(url);
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

async function run(url: string, sql: string, parameters?: unknown[]): Promise<Record<string, unknown>[]> {
  const client = await connected(url);
  try {
    return (await client.query<Record<string, unknown>>(sql, parameters)).rows;
  } finally {
    await client.end();
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}
