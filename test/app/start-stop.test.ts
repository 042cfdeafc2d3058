import { spawn } from "node:child_process";
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { connect, createServer, type AddressInfo, type Server } from "node:net";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { Listener } from "../../src/listener.ts";
import { configFolder, productionConfig, productionEnv } from "../support/config-file.ts";

const BROKER = fileURLToPath(new URL("../../src/broker.ts", import.meta.url));
const ANYWHERE = { host: "127.0.0.1", port: 0 };

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

test("a broker that can't have its address ends by itself, with the reason", { timeout: 30_000 }, async () => {
  using folder = configFolder();
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(ANYWHERE, resolve));
  const file = folder.write("rolecall.yaml", { ...productionConfig(), listen: `127.0.0.1:${portOf(other)}` });
  const env = { ...process.env, ...productionEnv, REDIS_URL: "rediss://:secret@127.0.0.1:1" };
  // Killed, not asked to end: a broker that hangs is the fault that this is about.
  const child = spawn(process.execPath, [BROKER, "serve", "--config", file], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
    timeout: 20_000,
    killSignal: "SIGKILL",
  });
  let said = "";
  child.stderr.on("data", (text: Buffer) => (said += text.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  other.close();
  expect(said).toContain("EADDRINUSE");
  expect(code).toBe(1);
});

describe("a server that closes", () => {
  test("cuts off who never ends a request", async () => {
    const listener = new Listener();
    const port = await listener.listen(ANYWHERE, (_, response) => response.end("done"));
    const client = connect(port, "127.0.0.1");
    client.write("GET / HTTP/1.1\r\nHost: here\r\n\r\nGET / HTTP/1.1\r\nHost: here\r\n");
    await once(client, "data");
    const cut = once(client, "close");
    client.resume().on("error", () => undefined);
    await listener.close(200);
    await cut;
  });

  test("first lets those under way have their answers", async () => {
    const listener = new Listener();
    const { promise: underWay, resolve } = Promise.withResolvers<ServerResponse>();
    const port = await listener.listen(ANYWHERE, (_, response) => {
      resolve(response);
    });
    const answer = fetch(`http://127.0.0.1:${port}`);
    const response = await underWay;
    const closed = listener.close(10_000);
    response.end("done");
    await closed;
    expect(await (await answer).text()).toBe("done");
  });

  test("does not wait for who has said nothing, nor for who said all", async () => {
    const listener = new Listener();
    const port = await listener.listen(ANYWHERE, (_, response) => response.end("done"));
    const [silent, served] = [connect(port, "127.0.0.1"), connect(port, "127.0.0.1")];
    served.write("GET / HTTP/1.1\r\nHost: here\r\n\r\n");
    await Promise.all([once(silent, "connect"), once(served, "data")]);
    const cut = Promise.all([once(silent, "close"), once(served, "close")]);
    silent.resume();
    await listener.close(60_000);
    await cut;
  });
});
