import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import type { KeyValueStore, Log } from "../flow/ports.ts";

/** The form of a sealed value: this, then base64url of nonce, ciphertext and tag. */
const VERSION = "v1.";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * `store` with its values encrypted and bound to their keys: a value that was moved to another key, changed, or
 * written by somebody without the keys reads as absent, and is logged. Whoever can write the store can still delete
 * a value or put an older one of the same key back (docs/store.md). `key`: 32 bytes, or what returns several: the first
 * seals, all open.
 */
export function sealed(store: KeyValueStore, key: Uint8Array | (() => readonly Uint8Array[]), log: Log): KeyValueStore {
  const keys = typeof key === "function" ? key : () => [key];
  sealingKey(keys());
  const seal = (storeKey: string, text: string): string => sealWith(sealingKey(keys()), storeKey, text);

  const open = (storeKey: string, value: string | undefined): string | undefined => {
    if (value === undefined) return undefined;
    const text = unseal(keys(), storeKey, value);
    // The key's last part is a hash or an ID of the caller's choice: its first part alone says enough.
    if (text === undefined) log.error({ key: storeKey.split(":", 2).join(":") }, "a stored value is not ours");
    return text;
  };

  return {
    get: async (storeKey) => open(storeKey, await store.get(storeKey)),
    getAll: async (storeKeys) => {
      const values = await store.getAll(storeKeys);
      return storeKeys.map((storeKey, i) => open(storeKey, values[i]));
    },
    take: async (storeKey) => open(storeKey, await store.take(storeKey)),
    set: (storeKey, value, ttlSeconds) => store.set(storeKey, seal(storeKey, value), ttlSeconds),
    add: (storeKey, value, ttlSeconds) => store.add(storeKey, seal(storeKey, value), ttlSeconds),
    setUnless: (tombstone, storeKey, value, ttlSeconds) =>
      store.setUnless(tombstone, storeKey, seal(storeKey, value), ttlSeconds),
    delete: (storeKey) => store.delete(storeKey),
    // A number that the store itself must be able to add to.
    count: (storeKey, ttlSeconds) => store.count(storeKey, ttlSeconds),
    ping: () => store.ping(),
  };
}

/** AES-256-GCM (NIST SP 800-38D) with the store's key as additional data. */
function sealWith(key: Uint8Array, storeKey: string, text: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", valueKey(key, storeKey), nonce);
  cipher.setAAD(Buffer.from(storeKey));
  const sealedText = [nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()];
  return VERSION + Buffer.concat(sealedText).toString("base64url");
}

function unseal(keys: readonly Uint8Array[], storeKey: string, value: string): string | undefined {
  const bytes = Buffer.from(value.slice(VERSION.length), "base64url");
  if (!value.startsWith(VERSION) || bytes.length < NONCE_BYTES + TAG_BYTES) return undefined;
  for (const key of keys) {
    const text = opened(key, storeKey, bytes);
    if (text !== undefined) return text;
  }
  return undefined;
}

function opened(key: Uint8Array, storeKey: string, bytes: Buffer): string | undefined {
  const nonce = bytes.subarray(0, NONCE_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", valueKey(key, storeKey), nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(storeKey));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    return decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES), undefined, "utf8") + decipher.final("utf8");
  } catch {
    return undefined;
  }
}

function sealingKey([key]: readonly Uint8Array[]): Uint8Array {
  if (key?.byteLength !== 32) throw new TypeError("the store's encryption key must have 32 bytes");
  return key;
}

/**
 * A key of its own for each place in the store. Random nonces are safe for 2^32 values under one key (NIST SP 800-38D,
 * 8.3), which a busy broker would pass in months with a single key.
 */
function valueKey(key: Uint8Array, storeKey: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", key, "", `rolecall store ${VERSION}${storeKey}`, 32));
}
