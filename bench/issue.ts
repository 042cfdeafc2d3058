import { federationSigner } from "../src/aws/federation-token.ts";
import { issuerDocuments } from "../src/aws/issuer-documents.ts";
import { keySigner, publishedKey } from "../src/aws/signer.ts";
import { stsClient } from "../src/aws/sts.ts";
import { federationClaims } from "../src/flow/federation-token.ts";
import { openKeys } from "../src/keys/key-file.ts";
import { importKeys } from "../src/keys/key-format.ts";
import { startCompany } from "./company.ts";
import { alternate, figures, type Figures } from "./measure.ts";

/**
 * `POST /api/v1/credentials` (token, session, tags, two durable ledger rows, a signature, STS) beside the call to STS
 * that nobody can avoid, to the same stand-in, by the same SDK, with a token that was signed before.
 */
export async function issue(): Promise<Figures> {
  const company = await startCompany();
  const { config, aws } = company.sandbox;
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const sts = stsClient({ region: config.aws.region, endpoint: aws.url, log });
  try {
    const file = await openKeys(company.folder, { signingAlgorithm: "ES256", origin: "bench" });
    const { federation } = await importKeys(file, Date.now());
    const [active] = federation;
    if (active.signs === undefined || !("privateKey" in active.signs)) throw new Error("no key in the file");
    const issuer = `${config.baseUrl}/federation`;
    const { roleArn, audience } = config.aws;
    const documents = issuerDocuments(issuer, federation.map(publishedKey));
    const sign = federationSigner({ signer: keySigner(active, active.signs.privateKey), documents, audience });
    const sessionName = "jane@acme.example";
    const tags = { team: "search", "cost-centre": "cc-1042" };
    const { jwt } = await sign(
      federationClaims({
        issuer,
        audience,
        sessionName,
        tags,
        transitiveTags: [],
        roleArn,
        tokenId: "bench",
        now: Date.now(),
      }),
    );
    const times = await alternate({
      samples: 300,
      ours: async () => {
        const response = await fetch(`${config.baseUrl}/api/v1/credentials`, {
          method: "POST",
          headers: { authorization: `Bearer ${company.accessToken}` },
        });
        if (response.status !== 200) throw new Error(await response.text());
        await response.json();
      },
      floor: () => sts.assumeRole({ roleArn, sessionName, webIdentityToken: jwt, durationSeconds: 3600 }),
    });
    return figures("issue", "ms", "the call to STS alone", times);
  } finally {
    sts.close();
    await company.close();
  }
}
