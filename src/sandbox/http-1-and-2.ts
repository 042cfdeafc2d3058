import { createServer, type IncomingMessage } from "node:http";
import { createServer as createHttp2Server, type Http2ServerRequest } from "node:http2";
import { createServer as createTcpServer, type AddressInfo, type Socket } from "node:net";

export type Request = IncomingMessage | Http2ServerRequest;

/** What both kinds of response can do. */
export interface Response {
  setHeader(name: string, value: string): unknown;
  writeHead(status: number, headers: Readonly<Record<string, string>>): unknown;
  write(chunk: string | Uint8Array): unknown;
  end(chunk: string | Uint8Array): unknown;
}

/** HTTP/2 connections begin with this text (RFC 9113 3.4). */
const PREFACE = "PRI * HTTP/2.0";

/**
 * A web server on one port for HTTP/1.1 and for HTTP/2 without TLS, which the AWS SDK for JavaScript speaks to
 * bedrock-runtime. Resolves when it listens; rejects where the port is taken.
 */
export async function listenHttp1And2(
  listener: (request: Request, response: Response) => void,
  port: number,
  host: string,
): Promise<{ port: number; close: () => Promise<void> }> {
  const http1 = createServer(listener);
  const http2 = createHttp2Server(listener);
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.once("data", (start) => {
      socket.pause();
      socket.unshift(start);
      const isHttp2 = start.subarray(0, PREFACE.length).toString("latin1") === PREFACE;
      (isHttp2 ? http2 : http1).emit("connection", socket);
      process.nextTick(() => socket.resume());
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        for (const socket of sockets) socket.destroy();
      }),
  };
}
