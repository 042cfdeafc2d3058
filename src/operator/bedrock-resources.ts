/** The part of the world that a cross-region inference profile spans stands in front of the model's ID. */
const PROFILE_PREFIX = /^(?:us|us-gov|eu|apac|ap|jp|au|ca|sa|global)\./;

/**
 * The ARNs that InvokeModel must be allowed on for each of `models`: `*`, a model's ID, a cross-region inference
 * profile's ID, or an ARN as it is. For a profile, the model behind it in every region too, since AWS asks for both
 * (Bedrock user guide, "Prerequisites for inference profiles").
 */
export function bedrockResources(models: readonly string[], roleArn: string): string[] {
  const [, partition = "aws", , , account = ""] = roleArn.split(":");
  const model = (id: string): string => `arn:${partition}:bedrock:*::foundation-model/${id}`;
  const profile = (kind: string, id: string): string => `arn:${partition}:bedrock:*:${account}:${kind}/${id}`;
  const resources = models.flatMap((id) => {
    if (id.startsWith("arn:")) return [id];
    if (id === "*") return [model(id), profile("inference-profile", id), profile("application-inference-profile", id)];
    if (PROFILE_PREFIX.test(id)) return [profile("inference-profile", id), model(id.replace(PROFILE_PREFIX, ""))];
    return [model(id)];
  });
  return [...new Set(resources)];
}
