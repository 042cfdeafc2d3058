import { setImmediate } from "node:timers/promises";
import { Refusal } from "../flow/errors.ts";
import type { WriteRequest, WriteResult } from "./batch.ts";

/** Requests in one transaction at most: keeps a batch's statements small, far above what waits at one moment. */
const BATCH_SIZE = 200;

interface Waiting {
  readonly request: WriteRequest;
  readonly settle: (result: WriteResult) => void;
  settled: boolean;
}

/**
 * Groups writes: while one transaction runs, whatever arrives waits and shares the next. Every caller has an answer
 * within the deadline; who was told "no" before the transaction began is left out of it. What was already on its way
 * may still be written: an outcome that nobody waited for releases nothing, and the sweep closes a request.
 */
export class WriteQueue {
  readonly #write: (requests: readonly WriteRequest[]) => Promise<readonly WriteResult[]>;
  readonly #deadlineMs: number;
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;

  /** `write` rejects with the Refusal that all callers of the batch then get. */
  constructor(write: (requests: readonly WriteRequest[]) => Promise<readonly WriteResult[]>, deadlineMs: number) {
    this.#write = write;
    this.#deadlineMs = deadlineMs;
  }

  /** What the request came to; rejects with its refusal, `ledger_unavailable` once the deadline is over. */
  submit(request: WriteRequest): Promise<number | string | undefined> {
    return new Promise((resolve, reject) => {
      const deadline = setTimeout(() => {
        waiting.settle({
          refusal: new Refusal("ledger_unavailable", `the ledger did not answer within ${this.#deadlineMs} ms`),
        });
      }, this.#deadlineMs);
      const waiting: Waiting = {
        request,
        settled: false,
        settle: (result) => {
          clearTimeout(deadline);
          waiting.settled = true;
          if ("refusal" in result) reject(result.refusal);
          else resolve(result.value);
        },
      };
      this.#waiting.push(waiting);
      this.#running ??= this.#run();
    });
  }

  /** Resolves when nothing waits any more, at the latest after a deadline. */
  async drain(): Promise<void> {
    if (!this.#running) return;
    const deadline = AbortSignal.timeout(this.#deadlineMs);
    const over = new Promise((resolve) => {
      deadline.addEventListener("abort", resolve);
    });
    await Promise.race([this.#running, over]);
  }

  async #run(): Promise<void> {
    for (;;) {
      // One turn of the event loop later, so that callers of the same moment are in the batch already.
      await setImmediate();
      const batch = this.#waiting.splice(0, BATCH_SIZE).filter(({ settled }) => !settled);
      if (batch.length > 0) await this.#runBatch(batch);
      if (this.#waiting.length === 0) break;
    }
    this.#running = undefined;
  }

  async #runBatch(batch: readonly Waiting[]): Promise<void> {
    const results = await this.#attempt(batch.map(({ request }) => request));
    batch.forEach((waiting, i) => {
      waiting.settle(results[i] as WriteResult);
    });
  }

  async #attempt(requests: readonly WriteRequest[]): Promise<readonly WriteResult[]> {
    try {
      return await this.#write(requests);
    } catch (cause) {
      const refusal =
        cause instanceof Refusal
          ? cause
          : new Refusal("ledger_unavailable", "the ledger could not be written", { cause });
      return requests.map(() => ({ refusal }));
    }
  }
}
