import type { FaultKind } from "./fault.ts";
import { faultsOf } from "./faults.ts";
import { randomFrom, type Random } from "./random.ts";
import type { LedgerKind } from "./site.ts";

/** A fault with its time: milliseconds from the round's beginning, and how long it lasts. */
export interface PlannedFault {
  readonly kind: FaultKind;
  readonly at: number;
  readonly lasts: number;
  readonly amount: number;
}

export interface SitePlan {
  readonly ledger: LedgerKind;
  readonly brokers: 1 | 2;
  readonly rounds: readonly (readonly PlannedFault[])[];
  readonly end: "stop" | "kill";
  /** For the people's own choices. */
  readonly seed: number;
}

export interface PlanOptions {
  readonly ledger: LedgerKind;
  readonly rounds: number;
  /** Milliseconds that a fault lasts at most. */
  readonly longest: number;
}

/** What is broken when at the site `index` of the run with `seed`: the same for the same arguments. */
export function planSite(seed: number, index: number, { ledger, rounds, longest }: PlanOptions): SitePlan {
  const random = randomFrom(seed + index * 1_000_003);
  return {
    ledger,
    brokers: ledger === "postgres" && random.chance(0.7) ? 2 : 1,
    rounds: Array.from({ length: rounds }, () => planRound(random, faultsOf(ledger), longest)),
    end: random.pick(["stop", "kill"]),
    seed: random.between(0, 2 ** 31),
  };
}

function planRound(random: Random, groups: readonly (readonly FaultKind[])[], longest: number): PlannedFault[] {
  const round: PlannedFault[] = [];
  const count = random.between(1, 4);
  while (round.length < count) {
    const kind = random.pick(random.pick(groups));
    const taken = round.some((other) => other.kind.targets.some((target) => kind.targets.includes(target)));
    // One in six is longer than what the brokers wait for anything.
    const lasts = random.chance(1 / 6) ? random.between(longest / 2, longest) : random.between(50, longest / 3);
    // Somebody has to come by meanwhile.
    const least = kind.atStep ? longest / 5 : 0;
    const at = random.between(0, kind.atStep ? 100 : 500);
    const fault = { kind, at, lasts: Math.floor(Math.max(least, lasts)), amount: random.next() };
    if (!taken) round.push(fault);
  }
  return round;
}
