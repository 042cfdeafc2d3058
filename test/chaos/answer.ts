import type { Page } from "../../src/sandbox/browser.ts";

/** Refusals that faults of the neighbors may lead to, while they last. Any other is a finding. */
export const EXPECTED = new Set([
  "store_unavailable",
  "ledger_unavailable",
  "idp_unreachable",
  "refresh_under_way",
  "sts_unreachable",
  "sts_internal",
  "sts_throttled",
  "sts_idp_unreachable",
  "sts_response_invalid",
  "temporarily_unavailable",
  // Sign-ins under way that were lost half-way, and begin again.
  "login_state_unknown",
  "approval_unknown",
]);

/** What came back, as far as a client needs it. */
export interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly body: Readonly<Record<string, unknown>>;
}

/** A page of the broker that refuses names its code. */
export function answerOf({ status, text }: Page): Answer {
  return { status, code: /\/problems\/(\w+)"/.exec(text)?.[1], body: {} };
}
