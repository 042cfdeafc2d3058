import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { serveBroker, type BrokerProcess } from "../support/balanced.ts";

/** What is deployed, and starts in a fraction of the sources' time: `npm run build` makes it. */
const BUILT_BROKER = fileURLToPath(new URL("../../dist/broker.js", import.meta.url));

/** How often a start is tried while what it needs is down, as a supervisor would, and how long between (milliseconds). */
const STARTS = 100;
const START_PAUSE = 200;

interface Place {
  broker: BrokerProcess | undefined;
  /** A restart under way. */
  starting: Promise<void> | undefined;
}

/** The brokers of a site, each in its place: killed, and started again as a supervisor would. */
export class Fleet {
  /** Brokers that ended without being told to: each in a sentence. */
  readonly crashes: string[] = [];
  readonly #configFile: string;
  readonly #places: Place[] = [];
  readonly #everyone: BrokerProcess[] = [];
  #turn = 0;
  #complaint = "";
  #ending = false;

  constructor(configFile: string) {
    this.#configFile = configFile;
  }

  async start(count: number): Promise<void> {
    for (let i = 0; i < count; i += 1) this.#places.push({ broker: undefined, starting: undefined });
    // One after the other: the first makes the keys.
    for (const index of this.#places.keys()) await this.restart(index);
  }

  get size(): number {
    return this.#places.length;
  }

  /** Of those that run; a restart must not lose a request for ever, so callers go from one to the next. */
  nextPort(): number {
    const running = this.running();
    this.#turn += 1;
    return running[this.#turn % Math.max(1, running.length)]?.port ?? 1;
  }

  running(): BrokerProcess[] {
    return this.#places.flatMap(({ broker }) => (broker ? [broker] : []));
  }

  at(index: number): BrokerProcess | undefined {
    return this.#places[index]?.broker;
  }

  async kill(index: number): Promise<void> {
    const place = this.#places[index];
    const broker = place?.broker;
    if (!place || !broker) return;
    place.broker = undefined;
    await broker.kill();
  }

  /** Tries until it listens: a ledger that is down stops a start. */
  restart(index: number): Promise<void> {
    const place = this.#places[index];
    if (!place || place.broker) return Promise.resolve();
    place.starting ??= this.#serve(place).finally(() => {
      place.starting = undefined;
    });
    return place.starting;
  }

  /** Every signed note that a broker of this site printed: what somebody has who keeps the logs. */
  checkpoints(): string[] {
    const lines = this.#everyone.flatMap(({ logged }) => logged);
    return lines.flatMap(({ checkpoint }) => (typeof checkpoint === "string" ? [checkpoint] : []));
  }

  /** What brokers logged of faults that nobody expected. */
  surprises(): string[] {
    const lines = this.#everyone.flatMap(({ logged }) => logged);
    return lines.filter(({ code }) => code === "internal_error").map((line) => JSON.stringify(line));
  }

  /** Ends all of them: politely, or not. */
  async end(how: "stop" | "kill" = "kill"): Promise<void> {
    this.#ending = true;
    for (const { starting } of this.#places) await starting;
    const running = this.running();
    for (const place of this.#places) place.broker = undefined;
    await Promise.all(running.map((broker) => (how === "stop" ? broker.stop() : broker.kill())));
  }

  async #serve(place: Place): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const complain = (text: string): void => {
          this.#complaint = text;
        };
        const broker = await serveBroker(this.#configFile, {}, { complain, program: BUILT_BROKER });
        this.#everyone.push(broker);
        place.broker = broker;
        void broker.ended.then(() => {
          if (place.broker !== broker) return;
          place.broker = undefined;
          if (!this.#ending)
            this.crashes.push(`a broker ended by itself: ${JSON.stringify(broker.logged.at(-1))} ${this.#complaint}`);
        });
        return;
      } catch (error) {
        if (attempt === STARTS) throw error;
        await delay(START_PAUSE);
      }
    }
  }
}
