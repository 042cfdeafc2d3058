import { crc32 } from "node:zlib";

/** One event as AWS's binary event streams frame it (Amazon Transcribe guide, "Event stream encoding"). */
export function eventFrame(type: string, payload: unknown): Buffer {
  const headers = Buffer.concat([
    textHeader(":message-type", "event"),
    textHeader(":event-type", type),
    textHeader(":content-type", "application/json"),
  ]);
  const body = Buffer.from(JSON.stringify(payload));
  const prelude = Buffer.concat([uint32(16 + headers.length + body.length), uint32(headers.length)]);
  const message = Buffer.concat([prelude, uint32(crc32(prelude)), headers, body]);
  return Buffer.concat([message, uint32(crc32(message))]);
}

function textHeader(name: string, value: string): Buffer {
  const text = 7;
  const length = Buffer.alloc(2);
  length.writeUInt16BE(value.length);
  return Buffer.concat([Buffer.of(name.length), Buffer.from(name), Buffer.of(text), length, Buffer.from(value)]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
