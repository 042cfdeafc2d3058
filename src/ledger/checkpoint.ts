import { createHash, createPublicKey, sign, verify, type KeyObject } from "node:crypto";

/** The key that signs checkpoints: Ed25519, and nothing else is signed with it. */
export interface CheckpointKey {
  /** The log's origin and the key's name in one: a URL without a scheme, as `rolecall.acme.example/ledger`. */
  readonly name: string;
  readonly privateKey: KeyObject;
}

/** What a checkpoint is checked with. */
export interface CheckpointVerifier {
  readonly name: string;
  readonly publicKey: KeyObject;
}

/** What a checkpoint says: this log had `size` rows, and their Merkle tree hash was `root`. */
export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
  /** ISO 8601, UTC. */
  readonly time: string;
}

/** Signature type "Ed25519" (C2SP signed-note, "Signatures"). */
const ED25519 = Buffer.of(1);
/** The prefix of an Ed25519 public key in SubjectPublicKeyInfo (RFC 8410, section 4). */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/**
 * A signed note (C2SP signed-note): the tree head (C2SP tlog-checkpoint) with the time as its extension line, a blank
 * line, the signature. Throws where the key's name can't stand in a note, or the key is not Ed25519.
 */
export function signCheckpoint(key: CheckpointKey, head: Omit<Checkpoint, "origin">): string {
  const text = `${key.name}\n${head.size}\n${head.root.toString("base64")}\ntime ${head.time}\n`;
  const signature = sign(null, Buffer.from(text), key.privateKey);
  const id = keyId({ name: key.name, publicKey: createPublicKey(key.privateKey) });
  return `${text}\n\u2014 ${key.name} ${Buffer.concat([id, signature]).toString("base64")}\n`;
}

/**
 * What `note` says, once our key's signature on it holds; signatures by others are passed over. Throws an Error whose
 * message says what is wrong with it.
 */
export function openCheckpoint(note: string, verifier: CheckpointVerifier): Checkpoint {
  const end = note.lastIndexOf("\n\n");
  if (end < 0) throw new Error("this is not a signed note");
  const text = note.slice(0, end + 1);
  const prefix = `\u2014 ${verifier.name} `;
  const id = keyId(verifier);
  const signatures = note
    .slice(end + 2)
    .split("\n")
    .filter((line) => line.startsWith(prefix))
    .map((line) => Buffer.from(line.slice(prefix.length), "base64"))
    .filter((bytes) => bytes.subarray(0, id.length).equals(id));
  if (signatures.length === 0) throw new Error(`it is not signed by the key ${verifierKey(verifier)}`);
  const holds = signatures.every((bytes) =>
    verify(null, Buffer.from(text), verifier.publicKey, bytes.subarray(id.length)),
  );
  if (!holds) throw new Error("its signature does not hold");
  return parseCheckpoint(text, verifier.name);
}

function parseCheckpoint(text: string, name: string): Checkpoint {
  const [origin, size = "", root = "", ...extensions] = text.split("\n");
  if (origin !== name) throw new Error("its origin is another log");
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(size)) throw new Error("its size is not a number");
  if (!/^[A-Za-z0-9+/]{43}=$/.test(root)) throw new Error("its root is not a SHA-256 in base64");
  const time = extensions.find((line) => line.startsWith("time "))?.slice("time ".length) ?? "";
  return { origin, size: Number(size), root: Buffer.from(root, "base64"), time };
}

/** The key as others hold it: `name+ID+key` (C2SP signed-note, "Verifier keys"). Nothing in it is secret. */
export function verifierKey(verifier: CheckpointVerifier): string {
  const bytes = Buffer.concat([ED25519, rawKey(verifier.publicKey)]);
  return `${verifier.name}+${keyId(verifier).toString("hex")}+${bytes.toString("base64")}`;
}

/** Reads what {@link verifierKey} writes. Throws an Error that says what is wrong. */
export function parseVerifierKey(text: string): CheckpointVerifier {
  const match = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/.exec(text.trim());
  const bytes = Buffer.from(match?.[3] ?? "", "base64");
  if (!match?.[1] || bytes.length !== 33 || bytes[0] !== ED25519[0]) {
    throw new Error("a verifier key must be NAME+ID+KEY with an Ed25519 key (C2SP signed-note)");
  }
  const spki = Buffer.concat([SPKI_PREFIX, bytes.subarray(1)]);
  const verifier = { name: match[1], publicKey: createPublicKey({ key: spki, format: "der", type: "spki" }) };
  if (keyId(verifier).toString("hex") !== match[2]) throw new Error("the verifier key's ID does not fit its key");
  return verifier;
}

/** The first four bytes of SHA-256(name || newline || type || key) (C2SP signed-note, "Signatures"). */
function keyId({ name, publicKey }: CheckpointVerifier): Buffer {
  if (!/^[^\s+]+$/u.test(name)) throw new Error("a checkpoint key's name must have no space and no plus");
  const hash = createHash("sha256").update(`${name}\n`).update(ED25519).update(rawKey(publicKey));
  return hash.digest().subarray(0, 4);
}

function rawKey(publicKey: KeyObject): Buffer {
  if (publicKey.asymmetricKeyType !== "ed25519") throw new Error("a checkpoint key must be an Ed25519 key");
  return publicKey.export({ format: "der", type: "spki" }).subarray(SPKI_PREFIX.length);
}
