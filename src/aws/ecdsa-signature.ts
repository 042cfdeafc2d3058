/** R and S of P-256, in bytes. */
const WIDTH = 32;

/**
 * An ECDSA signature over P-256 as a JWS has it, R and S of 32 bytes each (RFC 7518 3.4), from DER (RFC 3279 2.2.3), in
 * which KMS answers; undefined where `der` is none. Whoever uses it verifies it.
 */
export function joseSignature(der: Uint8Array): Uint8Array | undefined {
  const [tag, length] = der;
  // A sequence of two such integers is shorter than 128 bytes: its length is one byte.
  if (tag !== 0x30 || length !== der.length - 2 || length >= 0x80) return undefined;
  const r = integerAt(der, 2);
  const s = r && integerAt(der, r.end);
  if (!r || s?.end !== der.length) return undefined;
  return Buffer.concat([r.bytes, s.bytes]);
}

function integerAt(der: Uint8Array, start: number): { bytes: Buffer; end: number } | undefined {
  const length = der[start + 1] ?? 0;
  const end = start + 2 + length;
  if (der[start] !== 0x02 || length === 0 || end > der.length) return undefined;
  // A zero in front keeps a number with its highest bit set positive.
  const digits = Buffer.from(der.subarray(start + 2, end)).subarray(der[start + 2] === 0 ? 1 : 0);
  if (digits.length > WIDTH) return undefined;
  return { bytes: Buffer.concat([Buffer.alloc(WIDTH - digits.length), digits]), end };
}
