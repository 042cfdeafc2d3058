import { randomUUID } from "node:crypto";

interface OpenExchange<T> {
  readonly tokenId: string;
  callers: number;
  result: Promise<T> | undefined;
}

/** One caller's place in a call to STS that several callers of one grant may share. */
export interface Exchange<T> {
  /** Of the federation token that the call carries: `jti`, or the ID of the SAML assertion, which begins with no digit. */
  readonly tokenId: string;
  /** Begins the call if nobody has yet; every caller gets its result, or its error. */
  run(): Promise<T>;
  /** To be called once by every caller, whatever happened. */
  readonly leave: () => void;
}

/**
 * Calls of one key at one moment in this process become one. The token's ID is known before the call begins, so that
 * each caller's `credentials.requested` can name it and be durable first (law 1).
 */
export class Exchanges<T> {
  readonly #open = new Map<string, OpenExchange<T>>();

  /** A place in the exchange that is open for `key`, or in a new one that will do `call`. */
  join(key: string, call: (tokenId: string) => Promise<T>): Exchange<T> {
    const open = this.#open.get(key) ?? { tokenId: `_${randomUUID()}`, callers: 0, result: undefined };
    this.#open.set(key, open);
    open.callers += 1;
    const close = (): void => {
      if (this.#open.get(key) === open) this.#open.delete(key);
    };
    return {
      tokenId: open.tokenId,
      run: () => (open.result ??= call(open.tokenId).finally(close)),
      leave: () => {
        open.callers -= 1;
        if (open.callers === 0) close();
      },
    };
  }
}
