import { samlMetadata } from "./aws/saml-metadata.ts";
import { samlSigner } from "./aws/saml-signer.ts";
import { Refusal } from "./flow/errors.ts";
import type { FederationClaims, SignedFederationToken, SignFederationToken } from "./flow/federation-token.ts";
import { following } from "./flow/following.ts";
import type { Keys } from "./keys/key-format.ts";

export interface SamlFederationSettings {
  /** `BASE/federation`: our entity ID. */
  readonly issuer: string;
  readonly samlProviderArn: string;
}

/** What AWS sees of a broker that federates by SAML: its metadata, and assertions by the active one of its keys. */
export class SamlFederation {
  readonly #current: () => { readonly metadata: string; readonly sign: SignFederationToken };

  constructor(keys: () => Keys, settings: SamlFederationSettings) {
    this.#current = following(keys, ({ saml: all }) => {
      const [active] = all;
      if (active?.privateKey === undefined) throw new Refusal("signing_unavailable", "keys.json has no saml key");
      const { kid: keyId, certificate, privateKey } = active;
      const metadata = samlMetadata(
        settings.issuer,
        all.map((key) => key.certificate),
      );
      return { metadata, sign: samlSigner({ keyId, certificate, privateKey }, settings) };
    });
  }

  get metadata(): string {
    return this.#current().metadata;
  }

  async sign(claims: FederationClaims, durationSeconds: number): Promise<SignedFederationToken> {
    return this.#current().sign(claims, durationSeconds);
  }
}
