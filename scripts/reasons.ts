import { writeFileSync } from "node:fs";
import { REASONS } from "../src/flow/errors.ts";

/** docs/reasons.md: every code with its HTTP status, what the person reads, and what to do. */
export function reasonsText(): string {
  const rows = Object.entries(REASONS).map(
    ([code, { status, sentence, remedy }]) => `| \`${code}\` | ${status} | ${sentence} | ${remedy} |`,
  );
  return [
    "# Reason codes",
    "",
    "Every way in which Rolecall says no. The code is stable: it stands in the ledger's `reason`, in the API's `code`",
    "(RFC 9457 problem+json) and in `rolecall-broker explain`. The sentence and the remedy are what the person reads.",
    "",
    "This page is written by `node scripts/reasons.ts` from `src/flow/errors.ts`.",
    "",
    "| code | HTTP | what the person reads | what to do |",
    "|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

if (import.meta.main) writeFileSync(new URL("../docs/reasons.md", import.meta.url), reasonsText());
