import { planSite, type PlanOptions } from "./plan.ts";
import { Report } from "./report.ts";
import { runSite } from "./run-site.ts";
import type { LedgerKind } from "./site.ts";

/** How much of it: rounds at each site, and milliseconds that a fault lasts at most. */
export type Form = Omit<PlanOptions, "ledger">;

/** Longer than a broker waits for any of its neighbors but STS with its retries. */
export const LONG: Form = { rounds: 12, longest: 5000 };
/** For `npm test`: one site for each kind of ledger. */
export const SHORT: Form = { rounds: 3, longest: 1500 };

/** Breaks one site after the other, their ledgers by turns, until `over` says so or `sites` are done. */
export async function runAll(options: {
  readonly seed: number;
  readonly form: Form;
  readonly ledgers: readonly LedgerKind[];
  readonly sites: number;
  readonly over: () => boolean;
  readonly tell: (line: string) => void;
}): Promise<Report> {
  const { seed, form, ledgers, sites, over, tell } = options;
  const report = new Report(seed);
  for (let index = 0; index < sites && !over(); index += 1) {
    const plan = planSite(seed, index, { ...form, ledger: ledgers[index % ledgers.length] ?? "sqlite" });
    tell(`site ${index + 1}: ${plan.ledger}, ${plan.brokers === 1 ? "one broker" : "two brokers"}`);
    report.add(await runSite(plan, tell, over));
  }
  return report;
}
