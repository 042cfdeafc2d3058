import type { TraceOutcome, TraceStep } from "../flow/tags.ts";

/** What a rule did, for the person whose tags it made. */
const OUTCOMES = {
  spoke: "gave the value",
  "no claim": "stayed silent: nothing of that name was sent",
  "other provider": "was not asked: it listens to another sign-in service",
  "not asked": "was not asked: an earlier rule had answered",
  "no match": "found no value that it knows",
  "two values": "found two different values",
  "not text": "found something that is not text",
  "not allowed": "gave a value that is not on the allowed list",
  "bad characters": "gave a value that AWS does not take",
  "not kept": "reads something that was not asked for when you signed in",
} as const satisfies Record<TraceOutcome, string>;

/** Where a tag's value came from: "from Okta's groups (rule 1)". `step` is the one that spoke. */
export function whyTag(step: TraceStep, providerLabel: string): string {
  if (step.claim === undefined) return "the default, since your sign-in service sent nothing that says it";
  return `from ${providerLabel}’s claim ${step.claim}, ${ruleName(step)}`;
}

/** One line of the whole trace: "team, rule 2 (claim department): was not asked: …". */
export function traceLine(step: TraceStep): string {
  const claim = step.claim === undefined ? "" : ` (claim ${step.claim})`;
  return `${step.tag}, ${ruleName(step)}${claim} ${OUTCOMES[step.outcome]}`;
}

/** `from[0]`, as configuration and ledger have it, is the first rule to everybody else. */
function ruleName(step: TraceStep): string {
  const index = /^from\[(\d+)\]$/.exec(step.rule)?.[1];
  return index === undefined ? step.rule : `rule ${Number(index) + 1}`;
}
