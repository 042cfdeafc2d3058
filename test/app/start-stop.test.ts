import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { connect, createServer, type AddressInfo, type Server } from "node:net";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { closed, listening } from "../../src/listener.ts";
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
    const server = createHttpServer((_, response) => response.end("done"));
    await listening(server, ANYWHERE);
    const client = connect(portOf(server), "127.0.0.1");
    client.write("GET / HTTP/1.1\r\nHost: here\r\n");
    await once(server, "connection");
    const cut = once(client, "close");
    client.resume().on("error", () => undefined);
    await closed(server, 200);
    await cut;
  });

  test("first lets those under way have their answers", async () => {
    const server = createHttpServer((_, response) => void setTimeout(() => response.end("done"), 100));
    await listening(server, ANYWHERE);
    const answer = fetch(`http://127.0.0.1:${portOf(server)}`);
    await once(server, "request");
    await closed(server, 10_000);
    expect(await (await answer).text()).toBe("done");
  });
});
