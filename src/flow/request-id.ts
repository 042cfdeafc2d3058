import { AsyncLocalStorage } from "node:async_hooks";

const requests = new AsyncLocalStorage<string>();

/** Runs `work`, and all that it starts, as part of the request with this ID. */
export function withinRequest<T>(requestId: string, work: () => T): T {
  return requests.run(requestId, work);
}

/** The ID of the request that this is part of; undefined: of none. For the log, never for a decision. */
export function currentRequestId(): string | undefined {
  return requests.getStore();
}
