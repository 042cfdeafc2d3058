import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { Writable } from "node:stream";
import { STSServiceException } from "@aws-sdk/client-sts";
import { Redis } from "ioredis";
import { DatabaseError } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Refusal } from "../../src/flow/errors.ts";
import type { LogFields } from "../../src/flow/log-fields.ts";
import type { Log } from "../../src/flow/ports.ts";
import { withinRequest } from "../../src/flow/request-id.ts";
import { asPostgresError } from "../../src/ledger/postgres-error.ts";
import { operatorLog } from "../../src/operator/log.ts";
import { redisStore } from "../../src/store/redis.ts";
import { recordingLog } from "../support/log.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

/** What `write` leaves on the broker's output. */
function written(write: (log: Log) => void): string {
  let text = "";
  const output = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  write(operatorLog(output));
  return text;
}

function line(fields: LogFields, message = "said"): Record<string, unknown> {
  return JSON.parse(
    written((log) => {
      log.info(fields, message);
    }),
  ) as Record<string, unknown>;
}

async function rejection(work: () => unknown): Promise<Error> {
  try {
    await work();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("nothing was thrown");
}

const SECRET = "hunter2";

let redis: TestRedis;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

describe("a line", () => {
  it("is one JSON object with level, time and sentence", () => {
    const said = line({ code: "sts_throttled", attempt: 2 }, "STS answered Throttling (HTTP 400)");
    expect(said).toEqual({
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
      code: "sts_throttled",
      attempt: 2,
      msg: "STS answered Throttling (HTTP 400)",
    });
  });

  it("has the ID of the request that it is part of", async () => {
    const said = await withinRequest("id-1", async () => {
      await Promise.resolve();
      return line({ attempt: 1 });
    });
    expect(said["requestId"]).toBe("id-1");
    expect(line({})).not.toHaveProperty("requestId");
  });

  it("has no field that is not listed, whatever is in it", () => {
    const fields = { code: "x", token: SECRET, headers: { authorization: SECRET }, toJSON: () => ({ token: SECRET }) };
    const said = line(fields);
    expect(Object.keys(said)).toEqual(["level", "time", "code", "msg"]);
    expect(JSON.stringify(said)).not.toContain(SECRET);
  });

  it("has no listed field of another kind, and does not fail for it", () => {
    const throwing = Object.defineProperty({}, "path", { get: () => expect.fail() as string });
    const odd: Record<string, unknown> = { reason: { secret: SECRET }, faults: [throwing], port: SECRET, fields: 7 };
    expect(Object.keys(line(odd))).toEqual(["level", "time", "msg"]);
  });

  it.each<[keyof LogFields, string]>([
    ["address", `1.2.3.4\r\n{"level":"info"}\u001b[2J\u202e\u2028`],
    ["reason", "first\r\nsecond\u001b[31m\u202e"],
    ["detail", "\u0000\u009b31m\ud800"],
  ])("has nothing in %s that breaks it, moves a cursor or turns letters around", (name, text) => {
    const out = written((log) => {
      log.info({ [name]: text }, text);
    });
    expect(out.split("\n")).toHaveLength(2);
    expect(out.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}]|\\[rn]|\\u[\dd]/u);
  });

  it("is bounded", () => {
    const long = "word ".repeat(10_000);
    const fields = { reason: long, address: long, code: long, faults: Array(1000).fill({ path: long, message: long }) };
    expect(
      written((log) => {
        log.info(fields, long);
      }).length,
    ).toBeLessThan(40_000);
  });

  it("keeps a checkpoint as it was signed", () => {
    const note = "rolecall.acme.example/ledger\n17\nq1w2\n\n— rolecall.acme.example/ledger Az3grlgtzPIC\n";
    expect(line({ checkpoint: note })["checkpoint"]).toBe(note);
  });
});

describe("an error", () => {
  const uncovered = async (): Promise<[string, Error][]> => {
    const client = new Redis(redis.url, { lazyConnect: true, maxRetriesPerRequest: 0 });
    await client.connect();
    const unknownCommand = await rejection(() => client.call(`AUTHX`, SECRET));
    client.disconnect();
    const sts = new STSServiceException({
      name: "InvalidIdentityToken",
      message: `the token eyJhbGciOiJFUzI1NiJ9.${SECRET} is not valid`,
      $fault: "client",
      $metadata: { requestId: "sts-1" },
    });
    Object.assign(sts, { $response: { headers: { authorization: `Bearer ${SECRET}` } } });
    const postgres = new DatabaseError(`invalid input syntax for type json: "${SECRET}"`, 9, "error");
    Object.assign(postgres, { code: "22P02", detail: `Key (email)=(${SECRET})`, parameters: [SECRET] });
    return [
      ["fetch with a password", await rejection(() => fetch(`http://user:${SECRET}@127.0.0.1:1/?code=${SECRET}`))],
      ["fetch of nothing", await rejection(() => fetch(`http://127.0.0.1:1/token?code=${SECRET}`))],
      ["JSON", await rejection(() => JSON.parse(`{"refresh_token": ${SECRET}}`))],
      ["a URL", await rejection(() => new URL(`//${SECRET}`))],
      ["a wrong type", await rejection(() => Buffer.from({ secret: SECRET } as unknown as string, SECRET as "hex"))],
      ["Redis", unknownCommand],
      ["STS", sts],
      ["PostgreSQL", postgres],
      ["several", new AggregateError([new Error(SECRET)], SECRET)],
      ["an error whose message looks like its stack", new Error(`x\n    at ${SECRET} (file:///${SECRET}:1:2)`)],
      ["an error with a name of its own", Object.assign(new Error("x"), { name: SECRET, code: `${SECRET} ${SECRET}` })],
    ];
  };

  it("says class, code, place and causes, and nothing of what it was about", async () => {
    for (const [what, error] of await uncovered()) {
      const wrapped = new Refusal("internal_error", "unexpected error", {
        cause: new TypeError(SECRET, { cause: error }),
      });
      for (const err of [error, wrapped]) {
        const out = written((log) => {
          log.error({ err }, "failed");
        });
        expect(out, what).not.toContain(SECRET);
        expect(out, what).toContain(`"name":"${error.constructor.name}"`);
      }
    }
  });

  it("says where, without the query of a module's address", () => {
    const error = new TypeError("x");
    error.stack =
      "TypeError: x\n    at issue (file:///app/dist/flow/issue.js?token=hunter2:60:11)\n    at node:internal/x:1:2";
    expect(line({ err: error })["err"]).toEqual({
      name: "TypeError",
      at: ["issue (file:///app/dist/flow/issue.js:60:11)", "node:internal/x:1:2"],
    });
    expect(line({ err: new TypeError("real") })["err"]).toMatchObject({
      at: expect.arrayContaining([expect.stringMatching(/log\.test\.ts:\d+:\d+$/)]) as string[],
    });
  });

  it("that is a refusal has its code and its sentence", () => {
    const refusal = new Refusal("ledger_unavailable", "the ledger can't be written: the disk is full");
    expect(line({ err: refusal })["err"]).toEqual({
      name: "Refusal",
      code: "ledger_unavailable",
      message: "the ledger can't be written: the disk is full",
    });
  });

  it("that is none at all has its kind", () => {
    expect(line({ err: SECRET })["err"]).toEqual({ name: "a thrown string" });
  });
});

describe("a sentence", () => {
  it.each([
    ["a URL with a password", "connect to redis://app:hunter2@10.0.0.1:6379/0 failed", "redis://…@10.0.0.1:6379/0"],
    ["a query", "GET https://idp.acme.example/cb?code=hunter2&state=x failed", "https://idp.acme.example/cb?… failed"],
    ["a token", "got eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.hunter2 back", "got … back"],
    ["a header", "sent Authorization: Bearer hunter2, refused", "Bearer …, refused"],
    ["a key", `took ${"hunter2".repeat(8)} for one`, "took … for one"],
  ])("that somebody put %s into loses it", (_what, text, left) => {
    const said = line({ reason: text }, text);
    expect(JSON.stringify(said)).not.toContain("hunter2");
    expect([said["msg"], said["reason"]]).toEqual([expect.stringContaining(left), expect.stringContaining(left)]);
  });

  it("of Redis does not repeat what Redis was sent", async () => {
    // As Redis answers where the command was renamed.
    const server = createServer((socket) => {
      socket.on("data", () => socket.write(`-ERR unknown command 'auth', with args beginning with: '${SECRET}' \r\n`));
      socket.on("error", () => undefined);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const log = recordingLog();
    const store = redisStore(`redis://:${SECRET}@127.0.0.1:${port}`, log);
    const said = (await rejection(() => store.ping())).message;
    await expect.poll(() => log.lines).not.toEqual([]);
    await store.close();
    server.close();
    expect(said).toMatch(/^redis: /);
    expect(JSON.stringify([said, log.lines])).not.toContain(SECRET);
    expect(log.lines[0]?.fields["error"]).toContain("unknown command 'auth'");
  });

  it("of PostgreSQL has no row's value", () => {
    const error = Object.assign(new DatabaseError(`invalid input syntax: "${SECRET}"`, 9, "error"), { code: "22P02" });
    expect(asPostgresError(error).message).toBe("PostgreSQL failed with SQLSTATE 22P02");
  });
});
