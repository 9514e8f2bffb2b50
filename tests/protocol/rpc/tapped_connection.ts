import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { Role } from "../../../src/protocol/rpc/hello.ts";

/** What somebody on the way makes of the bytes of one write; null: they never arrive. */
export type Change = (from: Role, bytes: Uint8Array<ArrayBuffer>, index: number) => Uint8Array | null;

/** Both ends of a connection in memory, and everything that travelled on it. */
export interface Tap {
  readonly dialler: Connection;
  readonly listener: Connection;
  /** What was written, one entry a write, before anybody changed it. */
  readonly written: Readonly<Record<Role, Uint8Array<ArrayBuffer>[]>>;
  /** What arrived. */
  readonly arrived: Readonly<Record<Role, Uint8Array<ArrayBuffer>[]>>;
}

/** What a tap does beside recording. */
export interface TapOptions {
  /** What both ends, or each of them, say of the connection. @default false */
  readonly confidential?: boolean | Readonly<Record<Role, boolean>>;
  readonly change?: Change;
}

/** Makes a connection that is listened to, or worse. */
export function tapped({ confidential = false, change }: TapOptions = {}): Tap {
  const [dialler, listener] = memoryPair();
  const tap = {
    written: { dialler: [], listener: [] } as Record<Role, Uint8Array<ArrayBuffer>[]>,
    arrived: { dialler: [], listener: [] } as Record<Role, Uint8Array<ArrayBuffer>[]>,
  };
  const end = (role: Role, inner: Connection): Connection => ({
    transport: inner.transport,
    remoteAddress: inner.remoteAddress,
    localAddress: inner.localAddress,
    confidential: typeof confidential === "boolean" ? confidential : confidential[role],
    read: (buffer) => inner.read(buffer),
    async write(bytes): Promise<void> {
      const index = tap.written[role].push(new Uint8Array(bytes)) - 1;
      const changed = change === undefined ? bytes : change(role, new Uint8Array(bytes), index);
      if (changed === null) return;
      tap.arrived[role].push(new Uint8Array(changed));
      await inner.write(changed);
    },
    closeWrite: () => inner.closeWrite(),
    close: () => inner.close(),
  });
  return { dialler: end("dialler", dialler), listener: end("listener", listener), ...tap };
}

/** Reads to the end; what came before an error counts. */
export async function readToEnd(connection: Connection): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (;;) {
    const buffer = new Uint8Array(4096);
    const bytes = await connection.read(buffer).catch(() => null);
    if (bytes === null) return new Uint8Array(await new Blob(parts).arrayBuffer());
    parts.push(buffer.slice(0, bytes));
  }
}

/** Reads exactly that many bytes. */
export async function readExactly(connection: Connection, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const all = new Uint8Array(length);
  for (let have = 0; have < length;) {
    const bytes = await connection.read(all.subarray(have));
    if (bytes === null) throw new Error(`the connection ended after ${have} of ${length} bytes`);
    have += bytes;
  }
  return all;
}
