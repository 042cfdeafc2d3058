import { createPrivateKey } from "node:crypto";
import { samlSigner, type SamlSigningKey } from "../../src/aws/saml-signer.ts";
import { federationClaims, type FederationClaims, type SignFederationToken } from "../../src/flow/federation-token.ts";
import { newSamlKey } from "../../src/keys/new-keys.ts";
import { JANE, ROLE_ARN, TAGS } from "./federation.ts";

/** A broker's half of a federation by SAML. */

export const SAML_PROVIDER = "arn:aws:iam::111122223333:saml-provider/Rolecall";
export const SAML_AUDIENCE = "https://signin.aws.amazon.com/saml";
export const SAML_ISSUER = "https://rolecall.acme.example/federation";
export const ASSERTION_ID = "_5c1d6f5e-7f0b-4f63-8f3c-0c7d1c5b8a11";

export async function newSamlSigningKey(): Promise<SamlSigningKey> {
  const now = new Date();
  const { kid, certificate, privateKey = "" } = await newSamlKey({ createdAt: now, activeFrom: now });
  return { keyId: kid, certificate, privateKey: createPrivateKey(privateKey) };
}

export const signSaml = (key: SamlSigningKey): SignFederationToken =>
  samlSigner(key, { samlProviderArn: SAML_PROVIDER });

/** Jane's, for {@link ROLE_ARN}. */
export function samlClaims(over: Partial<Parameters<typeof federationClaims>[0]> = {}): FederationClaims {
  return federationClaims({
    issuer: SAML_ISSUER,
    audience: SAML_AUDIENCE,
    sessionName: JANE,
    tags: TAGS,
    transitiveTags: ["team"],
    roleArn: ROLE_ARN,
    tokenId: ASSERTION_ID,
    now: Date.now(),
    ...over,
  });
}

export function xmlOf(token: string): string {
  return Buffer.from(token, "base64").toString("utf8");
}
