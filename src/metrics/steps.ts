import type { Metrics, Step } from "./metrics.ts";
import type { SpanFacts, Traces } from "./traces.ts";

/** Tells both the metrics and the traces of each step. */
export class Steps {
  readonly metrics: Metrics;
  readonly #traces: Traces;

  constructor(metrics: Metrics, traces: Traces) {
    this.metrics = metrics;
    this.#traces = traces;
  }

  /** `work`'s own answer, or what it threw. */
  timed<T>(step: Step, work: () => Promise<T>, facts?: SpanFacts): Promise<T> {
    return this.#traces.step(step, () => this.metrics.timed(step, work), facts);
  }

  /** The same for what does not wait. */
  timedNow<T>(step: Step, work: () => T, facts?: SpanFacts): T {
    return this.#traces.stepNow(step, () => this.metrics.timedNow(step, work), facts);
  }
}
