import { surrounded } from "./issue.ts";
import { load } from "./load.ts";
import { rounded, type Figures } from "./measure.ts";
import { leaveMeasuredCore, residentMegabytes, startBroker } from "./processes.ts";

/** How long the load lasts: `BENCH_SECONDS=600` for the figure in docs/performance.md. */
const SECONDS = Number(process.env["BENCH_SECONDS"] ?? 30);
const CLIENTS = 64;

/** Resident memory of a broker that issues without a pause: at the end, beside a tenth of the way. */
export async function memory(): Promise<Figures> {
  leaveMeasuredCore();
  return await surrounded("sqlite", async ({ configFile, tokens, closing }) => {
    const broker = await startBroker(configFile);
    closing.push(broker);
    const idle = residentMegabytes(broker.pid);
    const under = async (seconds: number): Promise<{ answers: number; resident: number }> => {
      const { answers } = await load({ urls: [broker.url], tokens, clients: CLIENTS, seconds });
      return { answers, resident: residentMegabytes(broker.pid) };
    };
    const early = await under(SECONDS / 10);
    const late = await under((SECONDS * 9) / 10);
    return {
      name: "memory",
      unit: "MB resident",
      ours: late.resident,
      floor: early.resident,
      ratio: rounded(late.resident / early.resident),
      comparedWith: `the same broker after ${early.answers} issues`,
      issues: early.answers + late.answers,
      idle,
    };
  });
}
