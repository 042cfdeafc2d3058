import { execFileSync, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { redisStore } from "../../src/store/redis.ts";
import { recordingLog } from "../support/log.ts";
import { expectEventually } from "../support/redis-groups.ts";
import { freePort, killed, spawnRedis, spawnSentinel } from "../support/redis.ts";

const USER = "rolecall";
const PASSWORD = "p@ss/word:hunter2";
const LOGIN = `${USER}:${encodeURIComponent(PASSWORD)}`;

const folder = mkdtempSync(join(tmpdir(), "rolecall-redis-tls-"));
const running: ChildProcess[] = [];
let ports: { one: number; cluster: number; sentinel: number };

/** The rights that docs/store.md tells operators to give, on the servers or on the Sentinels. */
function rights(of: "servers" | "Sentinels"): string[] {
  const documented = readFileSync(new URL("../../docs/store.md", import.meta.url), "utf8");
  const users = [...documented.matchAll(/^ {4}user rolecall on >PASSWORD (.*)$/gm)].map(([, rule = ""]) => rule);
  return users[of === "servers" ? 0 : 1]?.split(" ") ?? [];
}

const settingsOf = {
  tls: (port: number): [string, string][] => [
    ["port", "0"],
    ["tls-port", String(port)],
    ["tls-cert-file", join(folder, "server.crt")],
    ["tls-key-file", join(folder, "server.key")],
    ["tls-ca-cert-file", join(folder, "server.crt")],
    ["tls-auth-clients", "no"],
    ["tls-replication", "yes"],
  ],
};

async function start(port: number, ...more: string[]): Promise<void> {
  const tls = settingsOf.tls(port).flatMap(([name, value]) => [`--${name}`, value]);
  const users = ["--requirepass", "admin", "--user", USER, "on", `>${PASSWORD}`, ...rights("servers")];
  running.push(await spawnRedis(port, ...tls, ...users, "--dir", folder, ...more));
}

async function startSentinel(port: number, primary: number): Promise<void> {
  const lines = [
    ...settingsOf.tls(port).map(([name, value]) => `${name} ${value}`),
    "bind 127.0.0.1",
    `dir ${folder}`,
    // So that the certificate's name is what brokers are told.
    "sentinel resolve-hostnames yes",
    "sentinel announce-hostnames yes",
    `sentinel monitor rolecall localhost ${primary} 1`,
    "sentinel auth-pass rolecall admin",
    "user default off",
    `user ${USER} on >sentinel-${PASSWORD} ${rights("Sentinels").join(" ")}`,
  ];
  const file = join(folder, "sentinel.conf");
  writeFileSync(file, `${lines.join("\n")}\n`);
  running.push(await spawnSentinel(file));
}

/** The one server of a whole Cluster, which was never told its own name. */
async function startClusterOfOne(port: number): Promise<void> {
  const settings = { enabled: "yes", port: String(await freePort()), "config-file": "nodes.conf" };
  const flags = Object.entries(settings).flatMap(([name, value]) => [`--cluster-${name}`, value]);
  await start(port, ...flags, "--tls-cluster", "yes");
  const ca = readFileSync(join(folder, "server.crt"), "utf8");
  const admin = new Redis({ host: "localhost", port, password: "admin", tls: { ca } });
  await admin.call("cluster", "addslotsrange", "0", "16383");
  await expectEventually(async () => String(await admin.call("cluster", "info")).includes("cluster_state:ok"));
  admin.disconnect();
}

beforeAll(async () => {
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const files = ["-keyout", join(folder, "server.key"), "-out", join(folder, "server.crt")];
  execFileSync("openssl", ["req", ...kind, ...names, ...files], { stdio: "ignore" });
  ports = { one: await freePort(), cluster: await freePort(), sentinel: await freePort() };
  await Promise.all([start(ports.one), startClusterOfOne(ports.cluster), startSentinel(ports.sentinel, ports.one)]);
});
afterAll(async () => {
  await Promise.all(running.map(killed));
  rmSync(folder, { recursive: true, force: true });
});

const sentinelLogin = `sentinelUser=${USER}&sentinelPassword=${encodeURIComponent(`sentinel-${PASSWORD}`)}`;
const ca = `ca=${join(folder, "server.crt")}`;
const urls = {
  "one server": () => `rediss://${LOGIN}@localhost:${ports.one}?${ca}`,
  Sentinel: () => `rediss+sentinel://${LOGIN}@localhost:${ports.sentinel}/rolecall?${ca}&${sentinelLogin}`,
  Cluster: () => `rediss+cluster://${LOGIN}@localhost:${ports.cluster}?${ca}`,
};

describe.each(Object.entries(urls))("%s, by TLS and as a user with few rights", (_form, url) => {
  it("does all that the store needs, and nothing is refused for want of a right", async () => {
    const log = recordingLog();
    const store = redisStore(url(), log);
    const key = `{${randomUUID()}}`;
    await store.ping();
    await store.set(key, "value", 60);
    expect(await store.setUnless(`${key}:ended`, key, "other", 60)).toBe(true);
    expect(await store.get(key)).toBe("other");
    expect(await store.add(`${key}:used`, "used", 60)).toBe(true);
    expect(await store.take(key)).toBe("other");
    expect((await store.count(`${key}:count`, 60)).count).toBe(1);
    await store.delete(`${key}:used`);
    expect(log.lines).toEqual([]);
    await store.close();
  });

  it("is refused without TLS, without its authority, and with another password", async () => {
    const wrong = [
      url().replace("rediss", "redis").replace(ca, "replicas=0"),
      url().replace(ca, "replicas=0"),
      url().replace(LOGIN, `${USER}:guess`),
    ];
    const refuse = async (each: string): Promise<void> => {
      const log = recordingLog();
      const store = redisStore(each, log);
      await expect(store.get("key")).rejects.toMatchObject({ code: "store_unavailable" });
      await expectEventually(() => Promise.resolve(log.lines.length > 0));
      expect(log.lines[0]?.message).toBe("redis can't be reached");
      expect(JSON.stringify(log.lines)).not.toMatch(/hunter2|guess/);
      await store.close();
    };
    await Promise.all(wrong.map(refuse));
  });
});

describe("who is refused", () => {
  const refused: [name: string, url: () => string][] = [
    ["a server under another name", () => urls["one server"]().replace("localhost", "127.0.0.1")],
    ["somebody the Sentinels don't know", () => urls.Sentinel().replace("sentinel-", "guess-")],
    ["a name that no Sentinel knows", () => urls.Sentinel().replace("/rolecall?", "/other?")],
  ];
  it.each(refused)("%s", async (_name, url) => {
    const store = redisStore(url(), recordingLog());
    await expect(store.get("key")).rejects.toMatchObject({ code: "store_unavailable" });
    await store.close();
  });

  it("a file of authorities that can't be read stops the start, and says which", () => {
    expect(() => redisStore(`rediss://localhost?ca=${folder}/none.pem`, recordingLog())).toThrow(/none\.pem/);
  });
});
