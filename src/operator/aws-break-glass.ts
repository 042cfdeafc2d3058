import type { Config } from "../config/config.ts";
import { eta, policyLiteral, roleParts, yamlText } from "./aws-template.ts";
import { bedrockResources } from "./bedrock-resources.ts";
import { TemplateError } from "./template-error.ts";

/** IAM API reference, CreateRole. */
const ROLE_NAME = 64;
const SUFFIX = "BreakGlass";

/**
 * CloudFormation for a role that IAM users of the account assume with MFA on the day when the broker is down: the same
 * models, and an alarm whenever it is used. Throws {@link TemplateError} where its name would be too long for IAM.
 */
export function awsBreakGlass({ aws, tags }: Config): string {
  const { partition, account, path, name } = roleParts(aws.roleArn);
  const roleName = `${name}${SUFFIX}`;
  if (roleName.length > ROLE_NAME) {
    throw new TemplateError(`aws.roleArn makes a role name of ${roleName.length} characters; IAM allows ${ROLE_NAME}`);
  }
  return eta.render("./aws/break-glass.yaml", {
    text: yamlText,
    literal: policyLiteral,
    region: aws.region,
    accountRoot: `arn:${partition}:iam::${account}:root`,
    roleArn: `arn:${partition}:iam::${account}:role${path}${roleName}`,
    roleName,
    rolePath: path,
    tagKeys: Object.keys(tags),
    resources: bedrockResources(aws.models, aws.roleArn),
  });
}
