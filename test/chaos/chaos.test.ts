import { expect, test } from "vitest";
import { planSite } from "./plan.ts";
import { LONG, runAll, SHORT } from "./run-all.ts";

const seed = Math.floor(Math.random() * 2 ** 31);

/** The short form of `npm run chaos`: other faults each time. */
test(`whatever breaks, the laws hold and brokers recover (seed ${seed})`, { timeout: 180_000 }, async () => {
  const lines: string[] = [];
  const report = await runAll({
    seed,
    form: SHORT,
    ledgers: ["sqlite", "postgres"],
    sites: 2,
    over: () => false,
    tell: (line) => lines.push(line),
  });
  const again = `run it again: npm run chaos -- --short --seed ${seed}`;
  expect(report.violations, [again, ...lines].join("\n")).toEqual([]);
  expect(report.handedOut).toBeGreaterThan(0);
});

test("a seed gives the same plan again, and another one gives another", () => {
  const plan = (of: number): string => JSON.stringify(planSite(of, 3, { ...LONG, ledger: "postgres" }));
  expect(plan(seed)).toBe(plan(seed));
  expect(plan(seed)).not.toBe(plan(seed + 1));
});
