import { z } from "zod";

/**
 * A judge for IAM policies that knows exactly what the shipped template uses, and refuses to read anything else: a
 * policy that it would have to guess at stops the sandbox instead of passing.
 */

const oneOrMany = z.union([z.string(), z.array(z.string())]).transform((value) => [value].flat());
const condition = z.partialRecord(
  z.enum(["StringEquals", "StringEqualsIfExists", "ForAllValues:StringEquals", "Null", "Bool"]),
  z.record(z.string(), oneOrMany),
);
const policyDocument = z.strictObject({
  // Without it, variables would be plain text.
  Version: z.literal("2012-10-17"),
  Statement: z.array(
    z.strictObject({
      Sid: z.string().optional(),
      Effect: z.enum(["Allow", "Deny"]),
      Principal: z.strictObject({ Federated: oneOrMany }).optional(),
      Action: oneOrMany,
      Resource: oneOrMany.optional(),
      Condition: condition.optional(),
    }),
  ),
});

export type Policy = z.infer<typeof policyDocument>;
type Statement = Policy["Statement"][number];
type Operator = keyof NonNullable<Statement["Condition"]>;

export interface PolicyRequest {
  readonly action: string;
  /** ARN of the identity provider, where a trust policy is asked. */
  readonly federated?: string;
  /** Where a permission policy is asked. */
  readonly resource?: string;
  /** Condition keys in any case; a key that the request does not have is left out. */
  readonly context: Readonly<Record<string, readonly string[]>>;
}

/** The policy, ready to judge by; throws where it holds an element or an operator that is not known here. */
export function readPolicy(document: unknown): Policy {
  const policy = policyDocument.parse(document);
  for (const statement of policy.Statement) {
    const hasDefault = valuesOf(statement).some((value) => /\$\{[^}]*,/.test(value));
    if (hasDefault) throw new Error("a policy variable with a default is not known here");
  }
  return policy;
}

/** True where a statement allows the request and none denies it (IAM user guide, "Policy evaluation logic"). */
export function allows(policy: Policy, request: PolicyRequest): boolean {
  const context = new Map(Object.entries(request.context).map(([key, values]) => [key.toLowerCase(), values]));
  const applicable = policy.Statement.filter((statement) => applies(statement, request, context));
  return applicable.some(({ Effect }) => Effect === "Allow") && !applicable.some(({ Effect }) => Effect === "Deny");
}

type Context = ReadonlyMap<string, readonly string[]>;

function applies(statement: Statement, request: PolicyRequest, context: Context): boolean {
  const { Principal, Action, Resource, Condition = {} } = statement;
  if (Principal !== undefined && !Principal.Federated.includes(request.federated ?? "")) return false;
  if (!Action.some((pattern) => matches(pattern.toLowerCase(), request.action.toLowerCase()))) return false;
  if (Resource !== undefined && !Resource.some((pattern) => resourceMatches(pattern, request, context))) return false;
  return Object.entries(Condition).every(([operator, keys]) =>
    Object.entries(keys).every(([key, values]) => holds(operator as Operator, key, values, context)),
  );
}

function holds(operator: Operator, key: string, wanted: readonly string[], context: Context): boolean {
  const actual = context.get(key.toLowerCase());
  const expected = wanted.map((value) => substitute(value, context)).filter((value) => value !== undefined);
  switch (operator) {
    case "StringEquals":
      return actual?.some((value) => expected.includes(value)) ?? false;
    case "StringEqualsIfExists":
      return actual?.some((value) => expected.includes(value)) ?? true;
    case "ForAllValues:StringEquals":
      return actual?.every((value) => expected.includes(value)) ?? true;
    case "Null":
      return expected.includes(String(actual === undefined));
    case "Bool":
      return actual?.some((value) => expected.includes(value.toLowerCase())) ?? false;
  }
}

function resourceMatches(pattern: string, request: PolicyRequest, context: Context): boolean {
  const text = substitute(pattern, context);
  return text !== undefined && matches(text, request.resource ?? "");
}

/** `*` stands for any text, `?` for one character. */
function matches(pattern: string, text: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${source}$`, "s").test(text);
}

const VARIABLE = /\$\{([^}]*)\}/g;

/** `value` with its variables filled in; undefined where the request lacks one: then nothing equals it. */
function substitute(value: string, context: Context): string | undefined {
  const fill = (name: string): string | undefined =>
    ["$", "*", "?"].includes(name) ? name : context.get(name.toLowerCase())?.[0];
  const names = [...value.matchAll(VARIABLE)].map(([, name = ""]) => name);
  if (names.some((name) => fill(name) === undefined)) return undefined;
  return value.replace(VARIABLE, (_, name: string) => fill(name) ?? "");
}

function valuesOf({ Condition = {}, Resource = [] }: Statement): string[] {
  return [...Resource, ...Object.values(Condition).flatMap((keys) => Object.values(keys).flat())];
}
