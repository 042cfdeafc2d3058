import type { Site } from "./site.ts";

/** Ends a fault. */
export type Mend = () => unknown;

/** One way to break something. */
export interface FaultKind {
  readonly name: string;
  /** What it is done to: two faults at once never share one of these. */
  readonly targets: readonly string[];
  /** Waits for somebody to come by; all others happen as soon as they begin. */
  readonly atStep?: true;
  /** `amount` (0 to 1) is how much of it, as the plan drew it; `met` is called when it has come to it. */
  begin(site: Site, amount: number, met: () => void): Mend | Promise<Mend>;
}
