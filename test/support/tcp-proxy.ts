import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

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
  /** Is told each piece of an answer, just before it passes. */
  overhear: (text: string) => void;
  /** Nothing passes on any connection, old or new, until {@link TcpProxy.thaw}. */
  freeze(): void;
  thaw(): void;
  /** Whatever passes from now on takes so long (milliseconds) each time; 0: no time. */
  slow(ms: number): void;
  /** Cuts a connection in the middle of what it carries each time that so many bytes have passed; 0: no more. */
  cutEvery(bytes: number): void;
  /** Cuts every connection, and refuses new ones until {@link TcpProxy.open}. */
  cut(): Promise<void>;
  open(): Promise<void>;
}

/** In front of the port `target`, or of the one that it says for each connection. */
export async function startProxy(target: number | (() => number)): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let frozen = false;
  let held: (() => void)[] = [];
  let slowMs = 0;
  let cutEvery = 0;
  let passed = 0;
  /** Now, once it is thawed, or a little later. */
  const turn = async (): Promise<void> => {
    if (frozen) await new Promise<void>((resolve) => held.push(resolve));
    if (slowMs > 0) await delay(slowMs);
  };
  const pass = (bytes: Buffer, to: Socket, destroyBoth: () => void): void => {
    passed += bytes.length;
    if (cutEvery === 0 || passed < cutEvery) {
      to.write(bytes);
      return;
    }
    to.write(bytes.subarray(0, bytes.length - (passed - cutEvery)), destroyBoth);
    passed = 0;
  };

  const server = createServer((client) => {
    const upstream = connect(typeof target === "number" ? target : target(), "127.0.0.1");
    let state: Passage = "pass";
    const destroyBoth = (): void => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
    }
    const carry = (from: Socket, to: Socket, decide: (bytes: Buffer) => Passage): void => {
      // In order, however long each takes.
      let before = Promise.resolve();
      const next = (work: () => void): void => {
        before = before.then(turn).then(work);
      };
      from.on("data", (bytes) => {
        next(() => {
          if (state === "freeze") return;
          state = decide(bytes);
          if (state === "freeze") return;
          if (state === "cut before" || (state === "cut after" && to === client)) destroyBoth();
          else pass(bytes, to, destroyBoth);
        });
      });
      from.on("close", () => {
        sockets.delete(from);
        // A frozen network does not tell one end that the other has gone.
        if (state === "freeze") return;
        next(() => {
          to.destroySoon();
        });
      });
    };
    carry(client, upstream, (bytes) => proxy.intercept(bytes.toString("latin1")));
    carry(upstream, client, (bytes) => {
      proxy.overhear(bytes.toString("latin1"));
      return state;
    });
  });

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const proxy: TcpProxy = {
    port,
    intercept: () => "pass",
    overhear: () => undefined,
    freeze() {
      frozen = true;
    },
    thaw() {
      frozen = false;
      for (const work of held.splice(0)) work();
    },
    slow(ms) {
      slowMs = ms;
    },
    cutEvery(bytes) {
      cutEvery = bytes;
      passed = 0;
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
