/**
 * `npm run chaos`: breaks what a broker depends on, and the broker itself, for minutes, and checks that the laws hold.
 * `--seed N` plans the same faults again (their timing against the work is the machine's own), `--minutes N` (10),
 * `--ledger sqlite|postgres` (by turns), `--short` as `npm test` has it. Exit 1 where anything did not hold.
 */
import { parseArgs } from "node:util";
import { LONG, runAll, SHORT } from "./run-all.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    minutes: { type: "string", default: "10" },
    ledger: { type: "string" },
    short: { type: "boolean", default: false },
  },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const minutes = Number(values.minutes);
const ledgers = (["sqlite", "postgres"] as const).filter((kind) => (values.ledger ?? kind) === kind);
if (!Number.isSafeInteger(seed) || !(minutes > 0) || ledgers.length === 0) {
  console.error("usage: npm run chaos -- [--seed N] [--minutes N] [--ledger sqlite|postgres] [--short]");
  process.exit(2);
}

console.log(`seed ${seed}`);
const end = Date.now() + minutes * 60_000;
const report = await runAll({
  seed,
  ledgers,
  form: values.short ? SHORT : LONG,
  sites: values.short ? ledgers.length : Infinity,
  over: () => Date.now() >= end,
  tell: (line) => {
    console.log(line);
  },
});
console.log(report.text());
process.exit(report.violations.length === 0 ? 0 : 1);
