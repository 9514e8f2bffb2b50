/** Reading whole amounts from a connection. */
import assert from "node:assert/strict";
import type { Connection } from "../../src/protocol/transport/transport.ts";
import { joined } from "../protocol/rpc/byte_stream.ts";

/** Reads to the end. */
export async function readToEnd(connection: Connection): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [], buffer = new Uint8Array(64 * 1024);
  for (;;) {
    const count = await connection.read(buffer);
    if (count === null) return joined(parts);
    parts.push(buffer.slice(0, count));
  }
}

/** Reads so many bytes. */
export async function readExactly(connection: Connection, count: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(count);
  for (let got = 0; got < count;) {
    const more = await connection.read(bytes.subarray(got));
    assert(more !== null, `${got} of ${count} bytes came`);
    got += more;
  }
  return bytes;
}
