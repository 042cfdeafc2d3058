import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/**
 * STS as far as its time doesn't count: answers every AssumeRoleWithWebIdentity with a session that looks like AWS's,
 * and checks nothing. (The sandbox's stand-in verifies, and would take most of a core by that.)
 */
const server = createServer((req, res) => {
  void text(req).then((body) => {
    const asked = new URLSearchParams(body);
    const role = asked.get("RoleArn") ?? "";
    const name = asked.get("RoleSessionName") ?? "";
    res.writeHead(200, { "content-type": "text/xml" }).end(answer(role, name, Number(asked.get("DurationSeconds"))));
  });
});
// No connection ends between two requests of a benchmark.
server.keepAliveTimeout = 0;
server.listen(0, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

const TOKEN = "IQoJb3JpZ2luX2VjE".padEnd(800, "x");

function answer(roleArn: string, name: string, seconds: number): string {
  const [, partition, , , account, resource = ""] = roleArn.split(":");
  const arn = `arn:${partition}:sts::${account}:assumed-role/${resource.split("/").at(-1)}/${name}`;
  return `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
<Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY</SecretAccessKey>
<SessionToken>${TOKEN}</SessionToken><Expiration>${new Date(Date.now() + seconds * 1000).toISOString()}</Expiration></Credentials>
<SubjectFromWebIdentityToken>${name}</SubjectFromWebIdentityToken><SourceIdentity>${name}</SourceIdentity>
<AssumedRoleUser><AssumedRoleId>AROAIOSFODNN7EXAMPLE:${name}</AssumedRoleId><Arn>${arn}</Arn></AssumedRoleUser>
<PackedPolicySize>6</PackedPolicySize><Audience>sts.amazonaws.com</Audience></AssumeRoleWithWebIdentityResult>
<ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>`;
}
