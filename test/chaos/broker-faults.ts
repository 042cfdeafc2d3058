import type { FaultKind } from "./fault.ts";
import type { LinkName } from "./site.ts";

export const brokerKilled: FaultKind = {
  name: "broker: killed",
  targets: ["broker"],
  async begin({ fleet }, amount) {
    const index = Math.floor(amount * fleet.size);
    await fleet.kill(index);
    const started = fleet.restart(index);
    return () => started;
  },
};

export const brokersKilled: FaultKind = {
  name: "broker: all killed",
  targets: ["broker"],
  async begin({ fleet }) {
    const all = Array.from({ length: fleet.size }, (_, index) => index);
    await Promise.all(all.map((index) => fleet.kill(index)));
    return () => Promise.all(all.map((index) => fleet.restart(index)));
  },
};

export const brokerFrozen: FaultKind = {
  name: "broker: frozen",
  targets: ["broker"],
  begin({ fleet }, amount) {
    const broker = fleet.at(Math.floor(amount * fleet.size));
    broker?.pause();
    return () => broker?.resume();
  },
};

/**
 * A broker dies when `text` is on its way, in a request or in an answer, is started again at once, and dies once more.
 * The bytes arrive, and nobody waits for what comes of them.
 */
export function killedAt(link: LinkName, text: string, where: "request" | "answer" = "request"): FaultKind {
  return {
    name: `broker: killed at ${link} ${where === "answer" ? "answer " : ""}${text.trim()}`,
    targets: ["broker", link],
    atStep: true,
    begin({ fleet, links }, amount, met) {
      const index = Math.floor(amount * fleet.size);
      const skip = Math.floor(((amount * 10) % 1) * 3);
      let left = skip;
      let deaths = 0;
      let again: Promise<void> | undefined;
      const die = async (): Promise<void> => {
        await fleet.kill(index);
        await fleet.restart(index);
        left = skip;
        again = undefined;
      };
      const hear = (bytes: string): void => {
        if (again || deaths === 2 || !bytes.includes(text) || left-- > 0) return;
        met();
        deaths += 1;
        again = die();
      };
      if (where === "answer") links[link].overhear = hear;
      links[link].intercept = (bytes) => {
        if (where === "request") hear(bytes);
        return "pass";
      };
      return async () => {
        links[link].intercept = () => "pass";
        links[link].overhear = () => undefined;
        await again;
      };
    },
  };
}
