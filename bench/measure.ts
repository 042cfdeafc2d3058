/** What every benchmark prints at its end, as one line of JSON with `--json`. */
export interface Figures {
  readonly name: string;
  readonly unit: string;
  /** Median of ours, in `unit`. */
  readonly ours: number;
  /** Median of what it is compared with, measured in the same run. */
  readonly floor: number;
  /** ours / floor. */
  readonly ratio: number;
  /** What the floor is. */
  readonly comparedWith: string;
  /** More of the same run; a name says its unit, milliseconds if it says none. */
  readonly [extra: string]: string | number;
}

/**
 * Times of `ours` and of `floor` (milliseconds a call), taken in turn so that whatever else the machine does meets both,
 * and their medians. `calls` calls make one sample, for what is too fast to time alone.
 */
export async function alternate(options: {
  readonly samples: number;
  readonly calls?: number;
  readonly ours: () => unknown;
  readonly floor: () => unknown;
}): Promise<{ ours: number; floor: number }> {
  const { samples, calls = 1 } = options;
  const taken = { ours: [] as number[], floor: [] as number[] };
  for (let i = -Math.ceil(samples / 10); i < samples; i += 1) {
    for (const side of i % 2 === 0 ? (["ours", "floor"] as const) : (["floor", "ours"] as const)) {
      const begin = performance.now();
      for (let call = 0; call < calls; call += 1) await options[side]();
      const time = (performance.now() - begin) / calls;
      // The first tenth warms up.
      if (i >= 0) taken[side].push(time);
    }
  }
  return { ours: median(taken.ours), floor: median(taken.floor) };
}

export function figures(
  name: string,
  unit: string,
  comparedWith: string,
  times: { ours: number; floor: number },
): Figures {
  const { ours, floor } = times;
  return { name, unit, ours: rounded(ours), floor: rounded(floor), ratio: rounded(ours / floor), comparedWith };
}

/** To three digits: no figure here is truer. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
