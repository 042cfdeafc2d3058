import { NOBODY_CAME, type SiteResult } from "./run-site.ts";

/** All sites of a run, added up. */
export class Report {
  readonly #seed: number;
  readonly #results: SiteResult[] = [];

  constructor(seed: number) {
    this.#seed = seed;
  }

  add(result: SiteResult): void {
    this.#results.push(result);
  }

  get violations(): string[] {
    return this.#results.flatMap(({ witness }) => [...witness.violations]);
  }

  /** Credentials that clients got. */
  get handedOut(): number {
    return this.#results.reduce((all, { witness }) => all + witness.handed.length, 0);
  }

  /** For people: what was broken how often, and what came of it. */
  text(): string {
    const sum = (count: (result: SiteResult) => number): number =>
      this.#results.reduce((all, result) => all + count(result), 0);
    const most = (count: (result: SiteResult) => number): number => Math.max(0, ...this.#results.map(count));
    const faults = added(this.#results.map((result) => result.faults));
    const missed = faults.get(NOBODY_CAME) ?? 0;
    faults.delete(NOBODY_CAME);
    const refused = added(this.#results.map(({ witness }) => witness.refused));
    return [
      "",
      `seed ${this.#seed}: ${this.#results.length} sites, ${sum(({ rounds }) => rounds)} rounds, ${total(faults)} faults, and ${missed} at steps that nobody took meanwhile`,
      "",
      "faults by kind",
      ...table(faults),
      "",
      `${sum(({ witness }) => witness.requests)} requests, ${sum(({ witness }) => witness.signIns)} sign-ins, ${this.handedOut} credentials handed out`,
      `${sum(({ rows }) => rows)} rows, ${sum(({ checkpoints }) => checkpoints)} checkpoints kept elsewhere`,
      `slowest answer ${Math.round(most(({ witness }) => witness.slowest))} ms; recovered after ${most(({ recovery }) => recovery)} tries at most`,
      `${sum(({ witness }) => witness.lost)} sign-ins lost as docs/store.md says they can be`,
      "",
      "refused, by code",
      ...table(refused),
      "",
      `${this.violations.length} violations`,
      ...this.violations.map((what) => `  ${what}`),
    ].join("\n");
  }
}

function added(maps: readonly ReadonlyMap<string, number>[]): Map<string, number> {
  const all = new Map<string, number>();
  for (const map of maps) for (const [name, count] of map) all.set(name, (all.get(name) ?? 0) + count);
  return all;
}

function total(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

function table(counts: ReadonlyMap<string, number>): string[] {
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `  ${String(count).padStart(6)}  ${name}`);
}
