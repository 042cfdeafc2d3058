import { fileURLToPath } from "node:url";
import { Eta } from "eta";

/** The templates in `templates/`, for CloudFormation: each value goes in by {@link yamlText}. */
export const eta = new Eta({
  views: fileURLToPath(new URL("../../templates", import.meta.url)),
  // For HTML. Here, every value is quoted by `text` as YAML wants it.
  autoEscape: false,
  autoTrim: false,
  cache: true,
});

/** The parts of a role's ARN; its path begins and ends with a slash. */
export function roleParts(roleArn: string): { partition: string; account: string; path: string; name: string } {
  const [, partition = "aws", , , account = "", resource = ""] = roleArn.split(":");
  const [, ...path] = resource.split("/");
  return { partition, account, path: ["", ...path.slice(0, -1), ""].join("/"), name: path.at(-1) ?? "" };
}

/**
 * A double-quoted YAML scalar that holds exactly `value`, whatever is in it: everything but printable ASCII is written
 * as an escape, since a raw U+0085 or U+2028 ends a line in YAML 1.1, which CloudFormation reads.
 */
export function yamlText(value: string): string {
  const body = value.replace(/[^ !#-[\]-~]/gu, (char) => {
    const code = char.codePointAt(0) ?? 0;
    return code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`;
  });
  return `"${body}"`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}

/** Text that IAM must not take for a variable: `${` begins one (IAM user guide, "Variables and tags"). */
export function policyLiteral(value: string): string {
  return value.replaceAll("${", "${$}{");
}
