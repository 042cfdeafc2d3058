/** Random numbers that a seed gives again. */
export interface Random {
  /** From 0 up to 1. */
  next(): number;
  /** A whole number, both ends included. */
  between(least: number, most: number): number;
  chance(of: number): boolean;
  pick<T>(from: readonly T[]): T;
}

/** mulberry32 (Tommy Ettinger, public domain): 32 bits of state are plenty for a plan. */
export function randomFrom(seed: number): Random {
  let state = seed | 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (least: number, most: number): number => least + Math.floor(next() * (most - least + 1));
  return {
    next,
    between,
    chance: (of) => next() < of,
    pick: (from) => {
      if (from.length === 0) throw new Error("nothing to pick from");
      return from[between(0, from.length - 1)] as (typeof from)[number];
    },
  };
}
