import type { Server } from "node:http";

/** Resolves once `server` listens; rejects where it can't. */
export function listening(server: Server, address: { readonly host: string; readonly port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(address, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/**
 * Takes no new requests, and resolves when those under way have their answers. Who is not done after `patience`
 * (milliseconds) is cut off: a client that never ends its request must not keep the process from ending, and Node's
 * own time limits end with the listening.
 */
export function closed(server: Server, patience: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.closeAllConnections();
    }, patience);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}
