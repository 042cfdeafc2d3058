import { setTimeout as delay } from "node:timers/promises";
import { Client } from "./client.ts";
import { PEOPLE } from "./people.ts";
import type { PlannedFault, SitePlan } from "./plan.ts";
import { randomFrom, type Random } from "./random.ts";
import { checkProofs, checkRecord, checkSweep } from "./record.ts";
import { startSite, type Site } from "./site.ts";
import { Witness } from "./witness.ts";

/** How often recovery is tried after the last fault has ended, and how long between (milliseconds). */
const RECOVERY_TRIES = 60;
const RECOVERY_PAUSE = 250;
/** A while of work with nothing broken, before the round is judged (milliseconds). */
const PEACE = 200;

/** Counted for a step that was to be broken, and that nobody took meanwhile. */
export const NOBODY_CAME = "(steps that nobody took meanwhile)";

/** What became of one site. */
export interface SiteResult {
  readonly rounds: number;
  readonly witness: Witness;
  /** Faults by name. */
  readonly faults: ReadonlyMap<string, number>;
  readonly rows: number;
  readonly checkpoints: number;
  /** Tries until everything worked again, at most. */
  readonly recovery: number;
}

/**
 * Starts the company of `plan`, breaks it round by round while people work, and checks after each round that nothing
 * was lost, half-done or mixed up and that it has recovered by itself. Ends early where `enough` says so.
 */
export async function runSite(plan: SitePlan, tell: (line: string) => void, enough = () => false): Promise<SiteResult> {
  const site = await startSite(plan.ledger, plan.brokers);
  try {
    return await new SiteRun(site, plan, tell).run(enough);
  } finally {
    await site.close();
  }
}

class SiteRun {
  readonly #site: Site;
  readonly #plan: SitePlan;
  readonly #tell: (line: string) => void;
  readonly #witness = new Witness();
  readonly #faults = new Map<string, number>();
  readonly #random: Random;
  readonly #clients: readonly Client[];
  #recovery = 0;

  constructor(site: Site, plan: SitePlan, tell: (line: string) => void) {
    this.#site = site;
    this.#plan = plan;
    this.#tell = tell;
    this.#random = randomFrom(plan.seed);
    this.#clients = PEOPLE.map((person) => this.#client(person));
  }

  async run(enough: () => boolean): Promise<SiteResult> {
    const witness = this.#witness;
    let rounds = 0;
    for (const round of this.#plan.rounds) {
      if (enough()) break;
      rounds += 1;
      await this.#round(round);
    }
    await this.#site.fleet.end(this.#plan.end);
    await checkSweep(this.#site, witness);
    const checkpoints = await checkProofs(this.#site, witness);
    for (const line of this.#site.fleet.surprises()) witness.violation(`an unexpected error: ${line}`);
    const rows = (await checkRecord(this.#site, witness)).length;
    return { rounds, witness, faults: this.#faults, rows, checkpoints, recovery: this.#recovery };
  }

  async #round(round: readonly PlannedFault[]): Promise<void> {
    const before = this.#witness.violations.size;
    let done = false;
    const working = this.#clients.map((client) => client.work(() => done));
    try {
      await Promise.all(round.map((fault) => this.#carryOut(fault)));
      await delay(PEACE);
    } finally {
      done = true;
      await Promise.all(working);
    }
    await this.#recover();
    for (const client of this.#clients) await client.stands();
    await checkRecord(this.#site, this.#witness);
    await checkProofs(this.#site, this.#witness);
    const { handed, violations } = this.#witness;
    this.#tell(`  ${round.map(describe).join("; ")}: ${handed.length} handed out so far`);
    for (const what of [...violations].slice(before)) this.#tell(`    VIOLATION ${what}`);
  }

  async #carryOut({ kind, at, lasts, amount }: PlannedFault): Promise<void> {
    await delay(at);
    let met = kind.atStep !== true;
    const mend = await kind.begin(this.#site, amount, () => {
      met = true;
    });
    await delay(lasts);
    await mend();
    const name = met ? kind.name : NOBODY_CAME;
    this.#faults.set(name, (this.#faults.get(name) ?? 0) + 1);
  }

  /** Nobody restarts a broker that runs: it is ready again by itself, and somebody new gets all the way through. */
  async #recover(): Promise<void> {
    const { fleet } = this.#site;
    await Promise.all(Array.from({ length: fleet.size }, (_, index) => fleet.restart(index)));
    const visitor = this.#client(this.#random.pick(PEOPLE));
    let signedIn = false;
    for (let tries = 1; tries <= RECOVERY_TRIES; tries += 1) {
      const ready = await this.#ready();
      if (ready) signedIn ||= await visitor.signIn();
      if (ready && signedIn && (await visitor.credentials())) {
        this.#recovery = Math.max(this.#recovery, tries);
        return;
      }
      await delay(RECOVERY_PAUSE);
    }
    this.#witness.violation(`no recovery within ${RECOVERY_TRIES} tries (signed in: ${String(signedIn)})`);
  }

  async #ready(): Promise<boolean> {
    const asked = this.#site.fleet.running().map(({ port }) =>
      fetch(`http://127.0.0.1:${port}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      ),
    );
    return (await Promise.all(asked)).every(Boolean);
  }

  #client(person: (typeof PEOPLE)[number]): Client {
    return new Client(this.#site, person, this.#witness, randomFrom(this.#random.between(0, 2 ** 31)));
  }
}

function describe({ kind, at, lasts }: PlannedFault): string {
  return `${kind.name} (${at}+${lasts} ms)`;
}
