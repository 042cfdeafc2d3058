import { TemplateUsage } from "./template-error.ts";

/** As the broker makes session names: AWS's characters, and no capital. */
const SESSION_NAME = /^[a-z0-9_+=,.@-]{2,64}$/;
/** RFC 3339, to the second or finer. */
const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/;

/**
 * A policy for the shared role, as JSON, that denies one person's sessions everything: all of them, or those that began
 * before `before` (RFC 3339). Throws {@link TemplateUsage}.
 */
export function denyPerson({ sessionName, before }: { sessionName?: string; before?: string }): string {
  if (sessionName === undefined) throw new TemplateUsage("--session-name is missing: people list shows every name");
  if (!SESSION_NAME.test(sessionName)) {
    throw new TemplateUsage("--session-name must be a session name as people list shows it, in lower case");
  }
  return denial("DenyPerson", {
    StringEquals: { "aws:SourceIdentity": sessionName },
    ...(before !== undefined && began(before)),
  });
}

/**
 * A policy for the shared role, as JSON, that denies everything to each session that began before `before` (RFC 3339;
 * left out: `now`, epoch milliseconds). Throws {@link TemplateUsage}.
 */
export function denySessions({ before }: { before?: string }, now: number): string {
  return denial("DenyOlderSessions", began(before ?? new Date(now).toISOString()));
}

/** Rounded up: STS says when a session began in whole seconds. */
function began(before: string): { DateLessThan: { "aws:TokenIssueTime": string } } {
  const time = TIME.test(before) ? Date.parse(before) : NaN;
  if (Number.isNaN(time)) throw new TemplateUsage("--before must be a time as in 2026-11-22T21:00:00Z");
  const second = new Date(Math.ceil(time / 1000) * 1000);
  return { DateLessThan: { "aws:TokenIssueTime": second.toISOString().replace(".000Z", "Z") } };
}

function denial(sid: string, condition: object): string {
  const statement = { Sid: sid, Effect: "Deny", Action: "*", Resource: "*", Condition: condition };
  return `${JSON.stringify({ Version: "2012-10-17", Statement: [statement] }, null, 2)}\n`;
}
