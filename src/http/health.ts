import type { RequestHandler } from "express";
import type { KeyValueStore } from "../flow/ports.ts";

export interface HealthParts {
  readonly store: Pick<KeyValueStore, "ping">;
  readonly ledger: { state(): Promise<{ writable: boolean }> };
  readonly documents: () => { readonly jwks: object };
  /** Told to stop: still serves, and wants nobody new. */
  readonly isStopping: () => boolean;
}

/** `/healthz`: the process answers, whatever its neighbors do. */
export const healthz: RequestHandler = (_req, res) => {
  res.json({ status: "ok" });
};

/** A part that has not answered by then is down to whoever asks (milliseconds): longer than the parts wait themselves. */
const PATIENCE = 3_000;

/**
 * `/readyz`: 200 where credentials could be issued as far as this broker can tell, otherwise 503, within three seconds.
 * Says which part, not why: that is in the log.
 */
export function readyz({ store, ledger, documents, isStopping }: HealthParts): RequestHandler {
  return async (_req, res) => {
    if (isStopping()) {
      res.status(503).json({ status: "stopping" });
      return;
    }
    const [storeOk, ledgerOk] = await Promise.all([
      holds(store.ping().then(() => true)),
      holds(ledger.state().then(({ writable }) => writable)),
    ]);
    const parts = { store: storeOk, ledger: ledgerOk, keys: hasKeys(documents().jwks) };
    const ready = Object.values(parts).every(Boolean);
    res.status(ready ? 200 : 503).json({ status: ready ? "ready" : "not ready", ...words(parts) });
  };
}

async function holds(check: Promise<boolean>): Promise<boolean> {
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => {
    late.resolve(false);
  }, PATIENCE);
  try {
    return await Promise.race([check, late.promise]);
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

function hasKeys(jwks: object): boolean {
  return "keys" in jwks && Array.isArray(jwks.keys) && jwks.keys.length > 0;
}

function words(parts: Record<string, boolean>): Record<string, string> {
  return Object.fromEntries(Object.entries(parts).map(([name, ok]) => [name, ok ? "ok" : "down"]));
}
