import { z } from "zod";
import { Refusal } from "./errors.ts";
import type { Mapping } from "./tags.ts";

/** DurationSeconds: 900 at least (AWS STS API reference, AssumeRoleWithWebIdentity). */
const SHORTEST_SESSION = 900;

/** What a request for credentials sent, as far as it can ask for anything. */
export interface Demand {
  /** The body as text; empty: no wishes. */
  readonly body: string;
  readonly queryNames: readonly string[];
  /** Lower case. */
  readonly headerNames: readonly string[];
  /** Why nothing of it counts, such as a body that can't be read: refused and recorded like any other fault. */
  readonly fault?: Refusal | undefined;
}

const demandSchema = z.strictObject({ durationSeconds: z.int().optional() });

/** Words by which a caller could try to choose what is attributed, joined: STS's own spelling is RoleSessionName. */
const ATTRIBUTED =
  /^(?:(?:iam|assumed?)?role(?:arn|name)?|(?:role)?sessionname|sourceidentity|(?:session|principal)?tags?|tagging|(?:transitive)?tagkeys)$/;

/** Neither a vendor's prefix, nor a service's, nor a word for "tag" makes another name of what comes after it. */
const PREFIX = /^(?:x-)?(?:(?:rolecall|amzn?|aws)-)?(?:sts-)?(?:(?:(?:session|principal|request)-?)?tags?-)?/;

/** Headers that clients and proxies send by themselves (RFC 9110, RFC 9218): a tag of such a name must lock nobody out. */
const EVERYDAY_HEADER =
  /^(?:accept(?:-encoding|-language)?|authorization|connection|content-(?:length|type)|date|expect|from|host|origin|priority|range|te|user-agent|via)$/;

/**
 * The duration in seconds. The caller may shorten it and choose nothing else: anything more in body, query or header
 * is refused, so that nobody believes it had worked (law 2).
 */
export function readDemand(
  demand: Demand,
  settings: { readonly mapping: Mapping; readonly sessionDurationSeconds: number },
): number {
  if (demand.fault) throw demand.fault;
  const tagKeys = new Set(settings.mapping.tags.map((tag) => joined(tag.key)));
  const chosen = demand.headerNames.filter((header) => {
    const name = joined(header.replaceAll("_", "-").replace(PREFIX, ""));
    return ATTRIBUTED.test(name) || (tagKeys.has(name) && !EVERYDAY_HEADER.test(header));
  });
  if (demand.queryNames.length > 0) throw new Refusal("request_not_allowed", "the query must be empty");
  if (chosen.length > 0)
    throw new Refusal("request_not_allowed", `the header ${String(chosen[0])} is not the caller's to send`);
  const body = demandSchema.safeParse(parseJson(demand.body));
  if (!body.success) {
    const unknown = body.error.issues.some((issue) => issue.code === "unrecognized_keys");
    if (unknown) throw new Refusal("request_not_allowed", "the body may hold durationSeconds only");
    throw new Refusal("request_malformed", "the body must be an object, and durationSeconds a whole number");
  }
  const longest = settings.sessionDurationSeconds;
  const { durationSeconds = longest } = body.data;
  if (durationSeconds < SHORTEST_SESSION || durationSeconds > longest) {
    throw new Refusal("duration_out_of_range", `durationSeconds must be ${SHORTEST_SESSION} to ${longest}`);
  }
  return durationSeconds;
}

/** The letters and digits of a name alone: `Cost Centre`, `cost-centre` and `cost_centre` mean one tag. */
function joined(name: string): string {
  return name.toLowerCase().replaceAll(/[^\p{L}\p{N}]+/gu, "");
}

function parseJson(text: string): unknown {
  if (text === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal("request_malformed", "the body is not JSON");
  }
}
