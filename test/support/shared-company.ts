import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer, request, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { startBroker } from "../../src/app.ts";
import type { LedgerEntry } from "../../src/ledger/row.ts";
import { configBeside } from "./balanced.ts";
import { broker, startCompany, type Company } from "./company.ts";
import { entriesAt } from "./ledger.ts";
import { startPostgres, type TestDatabase } from "./postgres.ts";
import { startRedis, type TestRedis } from "./redis.ts";

/** The made-up company with two brokers on one Redis and one PostgreSQL, and the operators' program beside them. */
export interface SharedCompany {
  readonly company: Company;
  readonly redis: TestRedis;
  readonly database: TestDatabase;
  /** Both brokers' addresses; people's browsers know the first. */
  readonly brokers: readonly [string, string];
  /** Runs when STS is asked, before it is. */
  beforeSts: () => void | Promise<void>;
  /** The operators' program on this company's configuration. */
  operator(...args: string[]): ReturnType<typeof broker>;
  rows(): Promise<LedgerEntry[]>;
  close(): Promise<void>;
}

export async function startSharedCompany(): Promise<SharedCompany> {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const database = await postgres.database();
  const shared: { beforeSts: SharedCompany["beforeSts"] } = { beforeSts: () => undefined };
  let brokers: readonly [string, string] = ["", ""];
  const company = await startCompany({
    redisUrl: redis.url,
    async start(config, log) {
      const sts = await passOn(config.aws.stsEndpoint ?? "", () => shared.beforeSts());
      const ours = { ...config, ledgerUrl: database.broker, aws: { ...config.aws, stsEndpoint: sts.url } };
      const running = [
        await startBroker(ours, log),
        await startBroker({ ...ours, listen: { ...config.listen, port: 0 } }, log),
      ];
      const [one = "", two = ""] = running.map(({ port }) => `http://127.0.0.1:${port}`);
      brokers = [one, two];
      return {
        async close() {
          await Promise.all(running.map((each) => each.close()));
          await sts.close();
        },
      };
    },
  });
  await writeFile(join(company.folder, "ledger.url"), database.broker);
  const file = await configBeside(company.configFile, "shared.yaml", { ledger: { url: { file: "ledger.url" } } });
  return Object.assign(shared, {
    company,
    redis,
    database,
    brokers,
    operator: (...args: string[]) => broker(...args, "--config", file),
    rows: () => entriesAt({ url: database.broker }),
    async close() {
      await company.close();
      await Promise.all([redis.stop(), postgres.remove()]);
    },
  });
}

/** Passes every request on to `target`, once `before` is done. */
async function passOn(
  target: string,
  before: () => void | Promise<void>,
): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer((req, res) => {
    void (async () => {
      const body = Buffer.concat(await Array.fromAsync(req as AsyncIterable<Buffer>));
      await before();
      const onward = request(new URL(req.url ?? "/", target), {
        method: req.method,
        headers: { ...req.headers, host: new URL(target).host },
      });
      onward.end(body);
      const [answer] = (await once(onward, "response")) as [IncomingMessage];
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(res);
    })();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
