import { describe, expect, it } from "vitest";
import type { WriteRequest, WriteResult } from "../../src/ledger/batch.ts";
import { WriteQueue } from "../../src/ledger/write-queue.ts";

const request = (requestId: string): WriteRequest => ({ kind: "append", event: { type: "login.denied", requestId } });

/** A queue over a database that answers only when it is told to. */
function stalledQueue(deadlineMs: number): {
  queue: WriteQueue;
  batches: (readonly WriteRequest[])[];
  answer: () => void;
} {
  const batches: (readonly WriteRequest[])[] = [];
  const waiting: (() => void)[] = [];
  const queue = new WriteQueue((requests) => {
    batches.push(requests);
    return new Promise<WriteResult[]>((resolve) => {
      waiting.push(() => {
        resolve(requests.map((_, i) => ({ value: i })));
      });
    });
  }, deadlineMs);
  return { queue, batches, answer: () => waiting.shift()?.() };
}

describe("the ledger's queue", () => {
  it("refuses at the deadline while the database stalls, and leaves out who has gone", async () => {
    const { queue, batches, answer } = stalledQueue(20);
    const first = queue.submit(request("first"));
    while (batches.length < 1) await new Promise((resolve) => setImmediate(resolve));
    const gone = queue.submit(request("gone"));
    const refused = { code: "ledger_unavailable", message: "the ledger did not answer within 20 ms" };
    await expect(first).rejects.toMatchObject(refused);
    await expect(gone).rejects.toMatchObject(refused);
    const late = queue.submit(request("late"));
    answer();
    while (batches.length < 2) await new Promise((resolve) => setImmediate(resolve));
    answer();
    expect(await late).toBe(0);
    expect(batches).toEqual([[request("first")], [request("late")]]);
  });

  it("gathers what arrives meanwhile into one batch", async () => {
    const { queue, batches, answer } = stalledQueue(10_000);
    const all = [queue.submit(request("a")), queue.submit(request("b"))];
    await new Promise((resolve) => setImmediate(resolve));
    all.push(queue.submit(request("c")), queue.submit(request("d")));
    answer();
    while (batches.length < 2) await new Promise((resolve) => setImmediate(resolve));
    answer();
    expect(await Promise.all(all)).toEqual([0, 1, 0, 1]);
    expect(batches.map((batch) => batch.length)).toEqual([2, 2]);
  });
});
