import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { Agent, request, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { afterEach, expect, it } from "vitest";
import { Balancer, configBeside, serveBroker, type BrokerProcess } from "../support/balanced.ts";
import { startCompany, type Company } from "../support/company.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

let redis: TestRedis;
let company: Company;
afterEach(async () => {
  await company.close();
  await redis.stop();
});

/** Brokers that a test starts and stops itself, behind a balancer at the company's address. */
interface Site {
  readonly balancer: Balancer;
  readonly start: () => Promise<BrokerProcess>;
  readonly brokers: BrokerProcess[];
  readonly token: string;
}

const LIMITS = { perAddress: 1_000_000, perAccount: 1_000_000 };

async function startSite(count: number): Promise<Site> {
  const balancer = new Balancer();
  const brokers: BrokerProcess[] = [];
  let start: Site["start"] = () => Promise.reject(new Error("not configured yet"));
  redis = await startRedis();
  company = await startCompany({
    redisUrl: redis.url,
    async start({ listen }, _log, configFile) {
      const file = await configBeside(configFile, "several.yaml", { stopDelay: "1s", rateLimits: LIMITS });
      start = () => serveBroker(file);
      await balancer.listen(listen.port);
      while (brokers.length < count) {
        const broker = await start();
        brokers.push(broker);
        await balancer.add(broker);
      }
      return {
        async close() {
          await balancer.close();
          await Promise.all(brokers.map((broker) => broker.stop()));
        },
      };
    },
  });
  const jane = await company.employee("okta", "Jane");
  const { accessToken } = JSON.parse(await readFile(jane.file("tokens.json"), "utf8")) as { accessToken: string };
  return { balancer, start, brokers, token: accessToken };
}

function ask(port: number, path: string, token: string, agent?: Agent): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const method = path.startsWith("/api/v1/credentials") ? "POST" : "GET";
    const headers = { authorization: `Bearer ${token}` };
    request({ host: "127.0.0.1", port, path, method, headers, agent }, (answer) => {
      answer.resume();
      resolve(answer);
    })
      .once("error", reject)
      .end();
  });
}

it("told to stop, a broker says so first, finishes what is under way, and lets every connection go", async () => {
  // Two, since STS reads the published keys, and one of them is about to go.
  const { brokers, token } = await startSite(2);
  const broker = brokers.shift();
  if (!broker) throw new Error("no broker");
  const { port } = broker;
  const agent = new Agent({ keepAlive: true });
  expect((await ask(port, "/healthz", token, agent)).headers.connection).toBe("keep-alive");
  const silent = connect(port, "127.0.0.1").resume();
  await once(silent, "connect");
  const silentCut = once(silent, "close");

  const called = company.aws.calls();
  // STS leaves the first attempt without an answer, and gives one to the second, five seconds later.
  company.aws.fail({ kind: "hang" });
  const underWay = ask(port, "/api/v1/credentials", token, agent);
  await expect.poll(() => company.aws.calls(), { timeout: 10_000 }).toBe(called + 1);
  const stopped = broker.stop();

  const ready = (): Promise<unknown> => fetch(`http://127.0.0.1:${port}/readyz`).then((answer) => answer.json());
  await expect.poll(ready).toEqual({ status: "stopping" });
  const late = await ask(port, "/healthz", token);
  expect([late.statusCode, late.headers.connection]).toEqual([200, "close"]);
  await silentCut;
  await expect(ask(port, "/healthz", token)).rejects.toThrow("ECONNREFUSED");

  const answer = await underWay;
  expect([answer.statusCode, answer.headers.connection]).toEqual([200, "close"]);
  expect(await stopped).toBe(0);
  expect((await company.rows()).filter(({ type }) => type === "credentials.issued")).toHaveLength(1);
});

it("two brokers are restarted one after the other under load, and no request fails", { timeout: 120_000 }, async () => {
  const site = await startSite(2);
  const port = Number(new URL(company.config.baseUrl).port);
  const statuses = new Map<string, number>();
  let running = true;
  const client = async (path: string): Promise<void> => {
    const agent = new Agent({ keepAlive: true });
    for (let i = 0; running && i < 20_000; i += 1) {
      const answer = await ask(port, path, site.token, agent);
      const key = `${path} ${answer.statusCode}`;
      statuses.set(key, (statuses.get(key) ?? 0) + 1);
    }
    agent.destroy();
  };
  const load = ["/api/v1/credentials", "/api/v1/credentials", "/api/v1/whoami", "/"].map(client);

  try {
    for (const index of [0, 1]) {
      const old = site.brokers[index];
      if (!old) throw new Error("no broker");
      expect(await old.stop()).toBe(0);
      site.balancer.remove(old);
      const fresh = await site.start();
      site.brokers[index] = fresh;
      await site.balancer.add(fresh);
    }
  } finally {
    running = false;
  }
  await Promise.all(load);

  const paths = ["/", "/api/v1/credentials", "/api/v1/whoami"];
  expect([...statuses.keys()].sort()).toEqual(paths.map((path) => `${path} 200`));
  const issued = (await company.rows()).filter(({ type }) => type === "credentials.issued");
  expect(issued).toHaveLength(statuses.get("/api/v1/credentials 200") ?? 0);
  expect(issued.length).toBeGreaterThan(20);
});
