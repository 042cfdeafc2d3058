import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/**
 * What becomes of bytes on their way to the server: they arrive; the connection is cut before they do, or when the
 * answer comes; or nothing passes on it any more, in either direction, and it stays open.
 */
export type Passage = "pass" | "cut before" | "cut after" | "freeze";

/** A network to a server on this machine, which can break. */
export interface TcpProxy {
  readonly port: number;
  /** Decides by the bytes' text; at first everything passes. */
  intercept: (text: string) => Passage;
  /** Nothing passes on any connection, old or new, until {@link TcpProxy.thaw}. */
  freeze(): void;
  thaw(): void;
  /** Cuts every connection, and refuses new ones until {@link TcpProxy.open}. */
  cut(): Promise<void>;
  open(): Promise<void>;
}

export async function startProxy(target: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let frozen = false;
  let held: (() => void)[] = [];
  /** Now, or once it is thawed. */
  const pass = (work: () => void): void => {
    if (frozen) held.push(work);
    else work();
  };

  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    let state: Passage = "pass";
    const destroyBoth = (): void => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        sockets.delete(socket);
        // A frozen network does not tell one end that the other has gone.
        if (!frozen && state !== "freeze") destroyBoth();
      });
    }
    client.on("data", (bytes) => {
      pass(() => {
        if (state === "freeze") return;
        state = proxy.intercept(bytes.toString("latin1"));
        if (state === "cut before") destroyBoth();
        else if (state !== "freeze") upstream.write(bytes);
      });
    });
    upstream.on("data", (bytes) => {
      pass(() => {
        if (state === "cut after") destroyBoth();
        else if (state !== "freeze") client.write(bytes);
      });
    });
  });

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const proxy: TcpProxy = {
    port,
    intercept: () => "pass",
    freeze() {
      frozen = true;
    },
    thaw() {
      frozen = false;
      for (const work of held.splice(0)) work();
    },
    async cut() {
      held = [];
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    async open() {
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
    },
  };
  return proxy;
}
