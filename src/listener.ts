import { createServer, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** The broker's HTTP server, which can be left by its clients in peace: first {@link Listener.retire}, then close. */
export class Listener {
  readonly #server: Server = createServer();
  readonly #connections = new Set<Socket>();
  /** Requests that have no whole answer yet. */
  readonly #open = new Set<ServerResponse>();
  #retired = false;

  constructor() {
    this.#server.on("connection", (socket) => {
      this.#connections.add(socket);
      socket.once("close", () => this.#connections.delete(socket));
    });
    this.#server.on("request", (_req, res) => {
      this.#open.add(res);
      res.once("close", () => this.#open.delete(res));
      if (this.#retired) res.shouldKeepAlive = false;
    });
  }

  /** True from {@link retire} on. */
  get retired(): boolean {
    return this.#retired;
  }

  /** Resolves with the port once it listens; rejects where it can't. */
  listen(address: { readonly host: string; readonly port: number }, handle: RequestListener): Promise<number> {
    this.#server.on("request", handle);
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(address, () => {
        this.#server.off("error", reject);
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /**
   * From now on every answer says that it is the last one of its connection ("Connection: close", RFC 9112, 9.6), so that
   * no client sends another request into a connection that is about to go. New connections are still served.
   */
  retire(): void {
    this.#retired = true;
    for (const res of this.#open) res.shouldKeepAlive = false;
  }

  /**
   * Takes no new requests, and resolves when those under way have their answers. Who is not done after `patience`
   * (milliseconds) is cut off: a client that never ends its request must not keep the process from ending, and Node's
   * own time limits end with the listening.
   */
  close(patience: number): Promise<void> {
    this.retire();
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#server.closeAllConnections();
      }, patience);
      this.#server.close(() => {
        clearTimeout(timer);
        resolve();
      });
      this.#server.closeIdleConnections();
      // Node takes one that has said nothing yet for one at work; browsers open such ones ahead of need.
      for (const socket of this.#connections) if (socket.bytesRead === 0) socket.destroy();
    });
  }
}
