import { createHash, createPublicKey, verify } from "node:crypto";
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import {
  GetPublicKeyCommand,
  KMSClient,
  KMSServiceException,
  SignCommand,
  type GetPublicKeyCommandOutput,
} from "@aws-sdk/client-kms";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { Refusal } from "../flow/errors.ts";
import { joseSignature } from "./ecdsa-signature.ts";
import { publishedKey, type PublicKeyFacts, type Signer } from "./signer.ts";

/** Milliseconds, each within the next: one connection, one attempt, all attempts of a call and finding credentials. */
const CONNECTION_LIMIT = 1_000;
const ATTEMPT_LIMIT = 2_000;
const CALL_LIMIT = 5_000;
const ATTEMPTS = 3;

/** What KMS calls them (AWS KMS API reference, Sign). */
const SIGNING_ALGORITHMS = { ES256: "ECDSA_SHA_256", RS256: "RSASSA_PKCS1_V1_5_SHA_256" } as const;

/** The key specs that can sign as IAM's OIDC providers verify, each with its algorithm. */
const KEY_SPECS: Readonly<Record<string, "ES256" | "RS256">> = {
  ECC_NIST_P256: "ES256",
  RSA_2048: "RS256",
  RSA_3072: "RS256",
  RSA_4096: "RS256",
};

export interface KmsOptions {
  /** Development only; left out: AWS's own in the key's region. */
  readonly endpoint?: string | undefined;
  /** Left out: those that the AWS SDK finds (environment, container, instance). */
  readonly credentials?: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  };
  /** For tests: milliseconds as above. */
  readonly limits?: { readonly attempt?: number; readonly call?: number };
}

/** An asymmetric key in KMS that can sign federation tokens, as KMS describes it. */
export interface KmsKey {
  readonly arn: string;
  readonly algorithm: "ES256" | "RS256";
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
}

/**
 * Keys in AWS KMS. Every call ends within five seconds, its retries included, and rejects with a Refusal
 * `signing_unavailable` that says what KMS said and nothing of what was signed.
 */
export class Kms {
  readonly #options: KmsOptions;
  readonly #clients = new Map<string, KMSClient>();

  constructor(options: KmsOptions) {
    this.#options = options;
  }

  /** The key `arn`; refused where it is none that can sign federation tokens. */
  async describe(arn: string): Promise<KmsKey> {
    const answer = await this.#call((signal) =>
      this.#client(arn).send(new GetPublicKeyCommand({ KeyId: arn }), { abortSignal: signal }),
    );
    const algorithm = algorithmOf(arn, answer);
    return { arn, algorithm, publicKey: Uint8Array.from(answer.PublicKey ?? []) };
  }

  /**
   * Signs with the key `arn`, whose public half is `key.publicKey`: what KMS answers is checked against that before
   * anybody sees it.
   */
  signer(arn: string, key: PublicKeyFacts): Signer {
    return { ...publishedKey(key), sign: (data) => this.#sign(arn, key, data) };
  }

  close(): void {
    for (const client of this.#clients.values()) client.destroy();
  }

  async #sign(arn: string, { algorithm, publicKey }: PublicKeyFacts, data: Uint8Array): Promise<Uint8Array> {
    const command = new SignCommand({
      KeyId: arn,
      Message: createHash("sha256").update(data).digest(),
      MessageType: "DIGEST",
      SigningAlgorithm: SIGNING_ALGORITHMS[algorithm],
    });
    const { Signature: answer } = await this.#call((signal) =>
      this.#client(arn).send(command, { abortSignal: signal }),
    );
    const signature = algorithm === "ES256" ? joseSignature(answer ?? new Uint8Array()) : answer;
    if (!signature || !verify("sha256", data, { key: publicKey, dsaEncoding: "ieee-p1363" }, signature)) {
      throw new Refusal("signing_unavailable", "what KMS answered is not a signature by the key that is published");
    }
    return signature;
  }

  async #call<T>(send: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const limit = this.#options.limits?.call ?? CALL_LIMIT;
    const deadline = AbortSignal.timeout(limit);
    const late = new Promise<never>((_, reject) => {
      deadline.addEventListener("abort", () => {
        reject(new Refusal("signing_unavailable", `no answer from KMS within ${limit} ms`));
      });
    });
    try {
      // Finding credentials does not heed the signal.
      return await Promise.race([send(deadline), late]);
    } catch (error) {
      throw refused(error);
    }
  }

  /** One a region: a key may lie in another one than STS. */
  #client(arn: string): KMSClient {
    const region = arn.split(":")[3] ?? "";
    const client = this.#clients.get(region) ?? newClient(region, this.#options);
    this.#clients.set(region, client);
    return client;
  }
}

/** Credentials may come from the environment; where the requests go to may not. */
function newClient(region: string, { endpoint, credentials, limits = {} }: KmsOptions): KMSClient {
  return new KMSClient({
    region,
    endpoint: endpoint ?? regionalEndpoint(region),
    useFipsEndpoint: false,
    useDualstackEndpoint: false,
    maxAttempts: ATTEMPTS,
    retryMode: "standard",
    defaultsMode: "standard",
    userAgentAppId: "rolecall",
    ...(credentials && { credentials }),
    requestHandler: new NodeHttpHandler({
      connectionTimeout: CONNECTION_LIMIT,
      requestTimeout: limits.attempt ?? ATTEMPT_LIMIT,
      throwOnRequestTimeout: true,
      httpAgent: new HttpAgent({ keepAlive: true, maxSockets: 50 }),
      // Also against NODE_TLS_REJECT_UNAUTHORIZED, which somebody may have set for the sake of another server.
      httpsAgent: new HttpsAgent({ keepAlive: true, maxSockets: 50, rejectUnauthorized: true }),
    }),
  });
}

/** AWS general reference, "AWS Key Management Service endpoints". */
function regionalEndpoint(region: string): string {
  return `https://kms.${region}.${region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com"}`;
}

/** Of the key that KMS describes, once its spec, its use and its public half agree. */
function algorithmOf(arn: string, answer: GetPublicKeyCommandOutput): "ES256" | "RS256" {
  const { KeyId, KeySpec = "none", KeyUsage = "none", SigningAlgorithms = [], PublicKey } = answer;
  const unfit = (why: string): Refusal => new Refusal("signing_unavailable", `the KMS key can't be used: ${why}`);
  if (KeyId !== arn) throw unfit("KMS answered for another one");
  if (KeyUsage !== "SIGN_VERIFY") throw unfit(`its usage is ${KeyUsage}, and must be SIGN_VERIFY`);
  const algorithm = KEY_SPECS[KeySpec];
  if (algorithm === undefined) throw unfit(`its spec is ${KeySpec}, and must be ECC_NIST_P256 or RSA_2048 to RSA_4096`);
  if (!SigningAlgorithms.includes(SIGNING_ALGORITHMS[algorithm])) {
    throw unfit(`it does not sign by ${SIGNING_ALGORITHMS[algorithm]}`);
  }
  if (kindOf(PublicKey ?? new Uint8Array()) !== algorithm)
    throw unfit("its public key is of another kind than its spec");
  return algorithm;
}

function kindOf(spki: Uint8Array): "ES256" | "RS256" | undefined {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    if (key.asymmetricKeyType === "rsa") return "RS256";
    return key.asymmetricKeyDetails?.namedCurve === "prime256v1" ? "ES256" : undefined;
  } catch {
    return undefined;
  }
}

/** KMS's own messages may quote the request, so only its codes are kept. */
function refused(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  const said = (what: string): Refusal => new Refusal("signing_unavailable", what);
  if (error instanceof KMSServiceException) {
    const code = /^[\w.]{1,64}$/.test(error.name) ? error.name : "an unreadable code";
    return said(`KMS answered ${code} (HTTP ${error.$metadata.httpStatusCode ?? 0})`);
  }
  if (error instanceof Error && error.name === "CredentialsProviderError") {
    return said("there are no AWS credentials to ask KMS with");
  }
  return said("KMS gave no answer that can be read");
}
