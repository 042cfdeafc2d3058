import { constants, createECDH, generateKeyPairSync, privateEncrypt, randomUUID, type KeyObject } from "node:crypto";
import { z } from "zod";
import { AwsSessions, type AwsSession } from "./aws-sessions.ts";
import { listenHttp1And2, type Request, type Response } from "./http-1-and-2.ts";
import { SignatureFault, authenticate, type SignatureProblem } from "./sigv4.ts";

const ACCOUNT = "111122223333";
const REGION = "us-east-1";

type KeySpec = "ECC_NIST_P256" | "ECC_NIST_P384" | "ECC_SECG_P256K1" | "RSA_2048" | "RSA_4096";

/** How the next call goes wrong. */
export type KmsFault =
  | { readonly kind: "error"; readonly code: string; readonly status: number }
  /** Signs something else. */
  | { readonly kind: "another signature" }
  /** Signs with a key of the same kind that is not the one that was named. */
  | { readonly kind: "another key" }
  | { readonly kind: "body"; readonly body: string }
  /** Takes the request and never answers. */
  | { readonly kind: "hang" }
  | { readonly kind: "reset" };

export interface SandboxKms {
  /** Without a slash at the end. */
  readonly url: string;
  /** Of the one caller who may do all that is here. */
  readonly credentials: Pick<AwsSession, "accessKeyId" | "secretAccessKey" | "sessionToken">;
  /** A new key; returns its ARN. */
  makeKey(spec: KeySpec, usage?: "SIGN_VERIFY" | "KEY_AGREEMENT" | "ENCRYPT_DECRYPT"): string;
  setEnabled(arn: string, enabled: boolean): void;
  /** The next calls go wrong, one fault a call, in order. */
  fail(...faults: readonly KmsFault[]): void;
  /** How often it was asked. */
  calls(): number;
  close(): Promise<void>;
}

interface KmsKey {
  readonly arn: string;
  readonly spec: KeySpec;
  readonly usage: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
  enabled: boolean;
}

/** The algorithms of each spec that are understood here, as AWS lists them (KMS developer guide, "Key spec reference"). */
const ALGORITHMS: Readonly<Record<KeySpec, readonly string[]>> = {
  ECC_NIST_P256: ["ECDSA_SHA_256"],
  ECC_NIST_P384: ["ECDSA_SHA_384"],
  ECC_SECG_P256K1: ["ECDSA_SHA_256"],
  RSA_2048: ["RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PSS_SHA_256"],
  RSA_4096: ["RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PSS_SHA_256"],
};

class KmsError extends Error {
  override readonly name = "KmsError";
  readonly code: string;
  readonly status: number;

  constructor(code: string, status = 400) {
    super(code);
    this.code = code;
    this.status = status;
  }
}

/**
 * A stand-in for AWS KMS (GetPublicKey, Sign) that really signs, with keys that it makes, and verifies who asks by
 * Signature Version 4. Resolves when it listens.
 */
export async function startKms(options: { readonly now?: () => number } = {}): Promise<SandboxKms> {
  const { now = Date.now } = options;
  const sessions = new AwsSessions();
  const caller = { arn: `arn:aws:sts::${ACCOUNT}:assumed-role/Rolecall/broker`, account: ACCOUNT };
  const credentials = sessions.begin(
    { ...caller, userId: "AROA:broker", sourceIdentity: undefined, tags: {}, tokenId: undefined },
    43_200,
    now(),
  );
  const keys = new Map<string, KmsKey>();
  const faults: KmsFault[] = [];
  const hosts: string[] = [];
  let calls = 0;
  const serve = async (request: Request, response: Response): Promise<void> => {
    calls += 1;
    const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
    const { method = "", url: target = "/", headers } = request;
    const fault = faults.shift();
    if (fault?.kind === "hang") return;
    if (fault?.kind === "reset") {
      request.socket.destroy();
      return;
    }
    const reply = (status: number, answer: string): void => {
      response.writeHead(status, { "content-type": "application/x-amz-json-1.1", "x-amzn-RequestId": randomUUID() });
      response.end(answer);
    };
    try {
      await authenticate({ method, target, headers, body }, { service: "kms", hosts, now: now() }, sessions);
      if (fault?.kind === "error") throw new KmsError(fault.code, fault.status);
      if (fault?.kind === "body") {
        reply(200, fault.body);
        return;
      }
      reply(200, JSON.stringify(carryOut(keys, String(headers["x-amz-target"]), body, fault)));
    } catch (error) {
      const { code, status } = asKmsError(error);
      reply(status, JSON.stringify({ __type: code, message: "as KMS would say" }));
    }
  };
  const server = await listenHttp1And2(
    (request, response) => {
      serve(request, response).catch(() => request.destroy());
    },
    0,
    "127.0.0.1",
  );
  hosts.push(`127.0.0.1:${server.port}`);
  return {
    url: `http://127.0.0.1:${server.port}`,
    credentials,
    makeKey(spec, usage = "SIGN_VERIFY") {
      const key = newKey(spec, usage);
      keys.set(key.arn, key);
      return key.arn;
    },
    setEnabled(arn, enabled) {
      find(keys, arn).enabled = enabled;
    },
    fail: (...more) => void faults.push(...more),
    calls: () => calls,
    close: server.close,
  };
}

const request = z.object({
  KeyId: z.string(),
  Message: z.base64().optional(),
  MessageType: z.string().optional(),
  SigningAlgorithm: z.string().optional(),
});

function carryOut(
  keys: ReadonlyMap<string, KmsKey>,
  target: string,
  body: Buffer,
  fault: KmsFault | undefined,
): object {
  const parsed = request.safeParse(JSON.parse(body.toString("utf8")));
  if (!parsed.success) throw new KmsError("ValidationException");
  const key = find(keys, parsed.data.KeyId);
  if (!key.enabled) throw new KmsError("DisabledException");
  switch (target) {
    case "TrentService.GetPublicKey":
      return describe(key);
    case "TrentService.Sign":
      return signed(key, parsed.data, fault);
    default:
      throw new KmsError("UnknownOperationException");
  }
}

function describe({ arn, spec, usage, publicKey }: KmsKey): object {
  return {
    KeyId: arn,
    KeySpec: spec,
    CustomerMasterKeySpec: spec,
    KeyUsage: usage,
    PublicKey: publicKey.export({ format: "der", type: "spki" }).toString("base64"),
    ...(usage === "SIGN_VERIFY" && { SigningAlgorithms: ALGORITHMS[spec] }),
  };
}

/** `Message` is a digest that stands for itself: it is not hashed again. */
function signed(
  key: KmsKey,
  { Message = "", MessageType, SigningAlgorithm = "" }: z.infer<typeof request>,
  fault: KmsFault | undefined,
): object {
  const digest = Buffer.from(Message, "base64");
  if (key.usage !== "SIGN_VERIFY" || !ALGORITHMS[key.spec].includes(SigningAlgorithm)) {
    throw new KmsError("InvalidKeyUsageException");
  }
  if (MessageType !== "DIGEST" || digest.length !== 32) throw new KmsError("ValidationException");
  const { privateKey } = fault?.kind === "another key" ? newKey(key.spec, key.usage) : key;
  const signature = signDigest(
    privateKey,
    fault?.kind === "another signature" ? Buffer.from(digest).reverse() : digest,
  );
  return { KeyId: key.arn, SigningAlgorithm, Signature: signature.toString("base64") };
}

/** Node signs what it has hashed itself, so the last step is done here: RFC 8017 9.2 for RSA, FIPS 186-5 6.4 for ECDSA. */
function signDigest(key: KeyObject, digest: Buffer): Buffer {
  if (key.asymmetricKeyType === "rsa") {
    return privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, Buffer.concat([SHA256_INFO, digest]));
  }
  const d = toNumber(Buffer.from(key.export({ format: "jwk" }).d ?? "", "base64url"));
  const once = createECDH("prime256v1");
  const r = toNumber(once.generateKeys().subarray(1, 33)) % ORDER;
  const k = toNumber(once.getPrivateKey());
  const s = (power(k, ORDER - 2n) * ((toNumber(digest) + r * d) % ORDER)) % ORDER;
  const body = Buffer.concat([derInteger(r), derInteger(s)]);
  return Buffer.concat([Buffer.of(0x30, body.length), body]);
}

/** DigestInfo of SHA-256 up to the digest (RFC 8017 9.2, note 1). */
const SHA256_INFO = Buffer.from("3031300d060960864801650304020105000420", "hex");
/** Of P-256 (NIST SP 800-186 3.2.1.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

function toNumber(bytes: Buffer): bigint {
  return BigInt(`0x${bytes.toString("hex")}`);
}

function power(base: bigint, exponent: bigint): bigint {
  let [result, square] = [1n, base % ORDER];
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) result = (result * square) % ORDER;
    square = (square * square) % ORDER;
  }
  return result;
}

function derInteger(value: bigint): Buffer {
  const hex = value.toString(16);
  const digits = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
  const positive = (digits[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), digits]) : digits;
  return Buffer.concat([Buffer.of(0x02, positive.length), positive]);
}

function newKey(spec: KeySpec, usage: string): KmsKey {
  const arn = `arn:aws:kms:${REGION}:${ACCOUNT}:key/${randomUUID()}`;
  return { arn, spec, usage, enabled: true, ...pairOf(spec) };
}

function pairOf(spec: KeySpec): { publicKey: KeyObject; privateKey: KeyObject } {
  switch (spec) {
    case "ECC_NIST_P256":
      return generateKeyPairSync("ec", { namedCurve: "P-256" });
    case "ECC_NIST_P384":
      return generateKeyPairSync("ec", { namedCurve: "P-384" });
    case "ECC_SECG_P256K1":
      return generateKeyPairSync("ec", { namedCurve: "secp256k1" });
    case "RSA_2048":
      return generateKeyPairSync("rsa", { modulusLength: 2048 });
    case "RSA_4096":
      return generateKeyPairSync("rsa", { modulusLength: 4096 });
  }
}

function find(keys: ReadonlyMap<string, KmsKey>, arn: string): KmsKey {
  const key = keys.get(arn);
  if (key === undefined) throw new KmsError("NotFoundException");
  return key;
}

function asKmsError(error: unknown): KmsError {
  if (error instanceof KmsError) return error;
  if (!(error instanceof SignatureFault)) return new KmsError("KMSInternalException", 500);
  const codes: Partial<Record<SignatureProblem, string>> = {
    missing: "MissingAuthenticationTokenException",
    mismatch: "InvalidSignatureException",
    expired: "ExpiredTokenException",
  };
  return new KmsError(codes[error.problem] ?? "UnrecognizedClientException");
}
