import { requestWhoami } from "./broker-api.ts";
import { brokerFiles, chooseBroker, type BrokerFiles } from "./home.ts";
import { withLock } from "./lock.ts";
import { print } from "./terminal.ts";
import { withAccessToken } from "./tokens.ts";

/** Prints who the broker would hand out credentials for, and what the bill will say: for people, or as its JSON. */
export async function whoami(options: { broker?: string; json?: boolean }): Promise<void> {
  const files = brokerFiles(chooseBroker(options.broker));
  if (options.json === true) process.stdout.write(`${JSON.stringify(await askWhoami(files), undefined, 2)}\n`);
  else await showPerson(files);
}

export async function showPerson(files: BrokerFiles): Promise<void> {
  for (const line of personLines(files.broker, await askWhoami(files))) print(line);
}

async function askWhoami(files: BrokerFiles): Promise<Record<string, unknown>> {
  const wait = { seconds: 60, timedOut: "another rolecall has been asking for credentials for too long" };
  return await withLock(files.refreshLock, wait, () =>
    withAccessToken(files, (accessToken) => requestWhoami(files.broker, accessToken)),
  );
}

/** One fact a line, each tag with where it came from; a fact that this broker does not tell is left out. */
function personLines(broker: string, person: Record<string, unknown>): string[] {
  const { email, sessionName, sessionArn, tags, trace, signInExpires } = person;
  const facts: [string, unknown][] = [
    ["signed in as", email],
    ["at", broker],
    ["session name", sessionName],
    ["billed as", sessionArn],
    ...tagFacts(tags, trace),
    ["sign-in ends", signInExpires],
  ];
  const known = facts.filter((fact): fact is [string, string] => typeof fact[1] === "string");
  const width = Math.max(...known.map(([name]) => name.length)) + 2;
  return known.map(([name, value]) => `${`${name}:`.padEnd(width)}${value}`);
}

function tagFacts(tags: unknown, trace: unknown): [string, unknown][] {
  if (typeof tags !== "object" || tags === null) return [];
  return Object.entries(tags).map(([key, value]): [string, unknown] => [
    `tag ${key}`,
    `${String(value)}${why(key, trace)}`,
  ]);
}

/** The rule that gave the tag its value, as the broker's trace has it. */
function why(tag: string, trace: unknown): string {
  const steps: unknown[] = Array.isArray(trace) ? trace : [];
  const spoke = steps.find(
    (step): step is Record<string, unknown> =>
      typeof step === "object" &&
      step !== null &&
      "tag" in step &&
      step.tag === tag &&
      "outcome" in step &&
      step.outcome === "spoke",
  );
  if (spoke === undefined) return "";
  const { claim, rule } = spoke;
  // As the broker's pages count them: `from[0]` is the first rule.
  const index = /^from\[(\d+)\]$/.exec(String(rule))?.[1];
  const name = index === undefined ? String(rule) : `rule ${Number(index) + 1}`;
  return typeof claim === "string" ? `  (claim ${claim}, ${name})` : `  (${name})`;
}
