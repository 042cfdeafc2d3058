import { federationSigner } from "./aws/federation-token.ts";
import { issuerDocuments, type IssuerDocuments } from "./aws/issuer-documents.ts";
import type { Kms } from "./aws/kms.ts";
import { keySigner, publishedKey, type Signer } from "./aws/signer.ts";
import type { FederationClaims, SignedFederationToken } from "./flow/federation-token.ts";
import { following } from "./flow/following.ts";
import type { FederationKey, Keys } from "./keys/key-format.ts";

export interface FederationSettings {
  /** `BASE/federation`. */
  readonly issuer: string;
  readonly audience: string;
  /** Development only; left out: AWS's own. */
  readonly kmsEndpoint: string | undefined;
  readonly now: () => number;
}

/** What AWS sees of the broker: the published documents, and tokens by the active one of their keys, wherever it lies. */
export class Federation {
  readonly #settings: FederationSettings;
  readonly #current: () => { readonly documents: IssuerDocuments; readonly sign: ReturnType<typeof federationSigner> };
  #kms: Promise<Kms> | undefined;

  constructor(keys: () => Keys, settings: FederationSettings) {
    this.#settings = settings;
    this.#current = following(keys, ({ federation: [active, ...others] }) => {
      const signer = this.#signer(active);
      const documents = issuerDocuments(settings.issuer, [signer, ...others.map(publishedKey)]);
      return { documents, sign: federationSigner({ signer, documents, ...settings }) };
    });
  }

  get documents(): IssuerDocuments {
    return this.#current().documents;
  }

  sign(claims: FederationClaims): Promise<SignedFederationToken> {
    return this.#current().sign(claims);
  }

  async close(): Promise<void> {
    (await this.#kms)?.close();
  }

  #signer(key: FederationKey): Signer {
    const { signs } = key;
    if (signs === undefined) throw new Error(`the key ${key.kid} can't sign`);
    if ("privateKey" in signs) return keySigner(key, signs.privateKey);
    const sign: Signer["sign"] = async (data) => (await this.#openKms()).signer(signs.kms, key).sign(data);
    return { ...publishedKey(key), sign };
  }

  /** Loaded when a key lies there, and not before: most brokers start without it. */
  #openKms(): Promise<Kms> {
    this.#kms ??= import("./aws/kms.ts").then(({ Kms }) => new Kms({ endpoint: this.#settings.kmsEndpoint }));
    return this.#kms;
  }
}
