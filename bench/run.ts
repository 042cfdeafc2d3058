/** `npm run bench` runs all, `npm run bench -- NAME --json` one. It measures built code: `npm run build` comes first. */
import { cli } from "./cli.ts";
import { issue, issuePostgres, issueTwo } from "./issue.ts";
import { mapping } from "./mapping.ts";
import type { Figures } from "./measure.ts";
import { memory } from "./memory.ts";
import { saml } from "./saml.ts";
import { sessions } from "./sessions.ts";
import { start } from "./start.ts";

// Those that leave a core to what they measure come last: what follows would have one core only.
const BENCHMARKS: Readonly<Record<string, () => Promise<Figures>>> = {
  mapping,
  saml,
  cli,
  start,
  sessions,
  "issue-two": issueTwo,
  issue,
  "issue-postgres": issuePostgres,
  memory,
};

const args = process.argv.slice(2);
const json = args.includes("--json");
const names = args.filter((arg) => arg !== "--json");
const unknown = names.filter((name) => !Object.hasOwn(BENCHMARKS, name));
if (unknown.length > 0) {
  console.error(`no such benchmark: ${unknown.join(", ")}\nhint: one of ${Object.keys(BENCHMARKS).join(", ")}`);
  process.exit(2);
}
for (const [name, run] of Object.entries(BENCHMARKS)) {
  if (names.length > 0 && !names.includes(name)) continue;
  console.error(`measuring ${name} …`);
  const result = await run();
  if (!json) {
    console.log(
      `${name}: ${result.ours} ${result.unit}, ${result.ratio} times ${result.comparedWith} (${result.floor})`,
    );
  } else console.log(JSON.stringify(result));
}
process.exit(0);
