/** The suite itself: it must let a good transport pass and find each fault of a broken one. */
import assert from "node:assert/strict";
import {
  ConformanceError,
  type ConformanceOptions,
  listenerConformance,
  pairsOf,
  transportConformance,
} from "../../../src/protocol/transport/conformance.ts";
import { memory, memoryPair } from "../../../src/protocol/transport/memory.ts";
import {
  type Connection,
  type Listener,
  type Transport,
  TransportError,
} from "../../../src/protocol/transport/transport.ts";

const QUICK: ConformanceOptions = {
  timeoutMs: 1_000,
  stallMs: 50,
  connections: 20,
  largeWriteBytes: 1 << 20,
};

/** What broken ones inherit from: passes everything on. */
class Through implements Connection {
  readonly transport = "memory";
  readonly localAddress = null;
  readonly remoteAddress = null;
  readonly confidential = true;
  protected readonly inner: Connection;
  constructor(inner: Connection) {
    this.inner = inner;
  }
  read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    return this.inner.read(buffer);
  }
  write(bytes: Uint8Array): Promise<void> {
    return this.inner.write(bytes);
  }
  closeWrite(): Promise<void> {
    return this.inner.closeWrite();
  }
  close(): void {
    this.inner.close();
  }
}

class DropsAByte extends Through {
  #written = 0;
  override write(bytes: Uint8Array): Promise<void> {
    this.#written += bytes.length;
    return super.write(this.#written > 200_000 && bytes.length > 1 ? bytes.subarray(1) : bytes);
  }
}

class Reorders extends Through {
  #kept: Uint8Array | null = null;
  override async write(bytes: Uint8Array): Promise<void> {
    // Two writes in a row of the same length change places.
    if (this.#kept === null && bytes.length === 1) {
      this.#kept = bytes.slice();
      return;
    }
    await super.write(bytes);
    const kept = this.#kept;
    this.#kept = null;
    if (kept !== null) await super.write(kept);
  }
}

class Doubles extends Through {
  override async write(bytes: Uint8Array): Promise<void> {
    await super.write(bytes);
    if (bytes.length === 65_537) await super.write(bytes.subarray(65_530));
  }
}

class NoHalfClose extends Through {
  override closeWrite(): Promise<void> {
    this.inner.close();
    return Promise.resolve();
  }
}

class ForgetsHalfClose extends Through {
  override closeWrite(): Promise<void> {
    return Promise.resolve();
  }
}

class Unbounded extends Through {
  #queue: Promise<void> = Promise.resolve();
  #failed: unknown = null;
  override write(bytes: Uint8Array): Promise<void> {
    if (this.#failed !== null) return Promise.reject(this.#failed);
    const copy = bytes.slice();
    this.#queue = this.#queue.then(() => super.write(copy)).catch((error) => void (this.#failed = error));
    return Promise.resolve();
  }
  override async closeWrite(): Promise<void> {
    await this.#queue;
    await super.closeWrite();
  }
}

class HangsOnClose extends Through {
  #closed = false;
  override async read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    try {
      return await super.read(buffer);
    } catch (error) {
      if (this.#closed) return await new Promise(() => {});
      throw error;
    }
  }
  override close(): void {
    this.#closed = true;
    super.close();
  }
}

class KeepsTheBuffer extends Through {
  #queue: Promise<void> = Promise.resolve();
  override write(bytes: Uint8Array): Promise<void> {
    this.#queue = this.#queue.then(async () => {
      // Late enough for a writer who goes on at once to have used the buffer again.
      for (let turn = 0; turn < 10; turn++) await Promise.resolve();
      await super.write(bytes);
    });
    this.#queue.catch(() => {});
    return Promise.resolve();
  }
}

class WritesBeyond extends Through {
  override async read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    const whole = new Uint8Array(buffer.buffer);
    const count = await super.read(buffer);
    const after = buffer.byteOffset + buffer.length;
    if (after < whole.length) whole[after] = 0;
    return count;
  }
}

class PlainErrors extends Through {
  override read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    return super.read(buffer).catch((error) => {
      throw new Error(String(error));
    });
  }
}

class EmptyWriteEnds extends Through {
  override write(bytes: Uint8Array): Promise<void> {
    return bytes.length === 0 ? super.closeWrite() : super.write(bytes);
  }
}

class NeverNoticesTheOther extends Through {
  override write(bytes: Uint8Array): Promise<void> {
    return super.write(bytes).catch((error) => {
      if (error instanceof TransportError && error.code === "lost") return new Promise(() => {});
      throw error;
    });
  }
}

class ZeroBytes extends Through {
  override async read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    return await super.read(buffer) ?? 0;
  }
}

class ThrowsOnSecondClose extends Through {
  #closed = false;
  override close(): void {
    if (this.#closed) throw new Error("closed already");
    this.#closed = true;
    super.close();
  }
}

async function failuresOf(
  cases: readonly { readonly name: string; run(): Promise<void> }[],
): Promise<Map<string, string>> {
  const failures = new Map<string, string>();
  for (const { name, run } of cases) {
    try {
      await run();
    } catch (error) {
      assert.ok(error instanceof ConformanceError, `${name}: ${error}`);
      failures.set(name, error.message);
    }
  }
  return failures;
}

const broken: readonly [string, new (inner: Connection) => Connection, string, RegExp][] = [
  ["drops a byte", DropsAByte, "keeps the order of writes of any size", /bytes were lost/],
  ["reorders writes", Reorders, "carries 10000 writes of one byte", /another order/],
  ["doubles bytes", Doubles, "carries bytes both ways at once", /doubled/],
  [
    "closes instead of half-closing",
    NoHalfClose,
    "goes on reading after closeWrite",
    /null|rejected|lost|closed/,
  ],
  [
    "forgets to half-close",
    ForgetsHalfClose,
    "brings everything written before closeWrite, and then the end",
    /null/,
  ],
  [
    "takes everything",
    Unbounded,
    "makes a writer wait while the other end does not read, and then loses nothing",
    /backpressure/,
  ],
  [
    "hangs when closed",
    HangsOnClose,
    "ends a read that waits when it is closed here",
    /nothing happened for 1000 ms/,
  ],
  [
    "keeps what was given to it",
    KeepsTheBuffer,
    "lets a buffer be used again after its write",
    /byte \d+ of the stream/,
  ],
  [
    "writes beyond the buffer",
    WritesBeyond,
    "reads into small buffers and leaves what is around them alone",
    /behind/,
  ],
  ["throws plain errors", PlainErrors, "ends a read that waits when it is closed here", /TransportError/],
  [
    "ends at an empty write",
    EmptyWriteEnds,
    "carries nothing for an empty write",
    /closeWrite was called|end/,
  ],
  [
    "never notices that the other end is gone",
    NeverNoticesTheOther,
    "fails a write that waits when the other end vanishes",
    /nothing happened/,
  ],
  ["gives 0 for the end", ZeroBytes, "goes on reading after closeWrite", /it gave 0/],
  [
    "throws at the second close",
    ThrowsOnSecondClose,
    "can be closed twice, and refuses everything afterwards",
    /never to throw/,
  ],
];

Deno.test("transportConformance() finds nothing in a good transport with the times of these tests", async () => {
  assert.deepEqual(
    await failuresOf(transportConformance(() => Promise.resolve(memoryPair()), QUICK)),
    new Map(),
  );
});

for (const [what, Broken, name, message] of broken) {
  Deno.test(`transportConformance() fails the right case when a transport ${what}`, async () => {
    const open = (): Promise<readonly [Connection, Connection]> => {
      const [first, second] = memoryPair();
      return Promise.resolve([new Broken(first), new Broken(second)]);
    };
    const found = transportConformance(open, QUICK).find((each) => each.name === name);
    assert.ok(found !== undefined, `no case is called "${name}"`);
    const failures = await failuresOf([found]);
    assert.match(failures.get(name) ?? "it passed", message);
  });
}

Deno.test("transportConformance() tells from which end it went wrong when only the second is broken", async () => {
  const open = (): Promise<readonly [Connection, Connection]> => {
    const [first, second] = memoryPair();
    return Promise.resolve([first, new DropsAByte(second)]);
  };
  const failures = await failuresOf(transportConformance(open, QUICK));
  assert.match(
    failures.get("keeps the order of writes of any size") ?? "it passed",
    /^with the second end as "this end"/,
  );
});

interface ListenerFault {
  readonly what: string;
  readonly name: string;
  readonly message: RegExp;
  readonly change: (transport: Transport) => Partial<Transport>;
}

const listenerFaults: readonly ListenerFault[] = [
  {
    what: "leaves accept waiting",
    name: "ends accept with null when it is closed, and stays closed",
    message: /nothing happened/,
    change: (good) => ({
      listen: async (address) => {
        const listener = await good.listen(address);
        const accept = async (): Promise<Connection | null> =>
          await listener.accept() ?? await new Promise(() => {});
        return { address: listener.address, accept, close: () => listener.close() };
      },
    }),
  },
  {
    what: "rejects accept when closed",
    name: "ends accept with null when it is closed, and stays closed",
    message: /to give null, it was rejected/,
    change: (good) => ({
      listen: async (address) => {
        const listener = await good.listen(address);
        const accept = async (): Promise<Connection> => {
          const connection = await listener.accept();
          if (connection === null) throw new TransportError("closed", "closed");
          return connection;
        };
        return { address: listener.address, accept, close: () => listener.close() };
      },
    }),
  },
  {
    what: "closes what it accepted",
    name: "leaves connections that were accepted open when it is closed",
    message: /expected that it leaves connections/,
    change: (good) => ({
      listen: async (address) => {
        const listener = await good.listen(address);
        const accepted: Connection[] = [];
        return {
          address: listener.address,
          accept: async () => {
            const connection = await listener.accept();
            if (connection !== null) accepted.push(connection);
            return connection;
          },
          close: () => {
            listener.close();
            for (const connection of accepted) connection.close();
          },
        };
      },
    }),
  },
  {
    what: "ignores the signal",
    name: "gives up to connect when the signal is aborted, and goes on taking others",
    message: /reason of its signal, it gave a connection/,
    change: (good) => ({ connect: (address) => good.connect(address) }),
  },
  {
    what: "makes an error of its own of the signal's reason",
    name: "does not begin to connect when the signal was aborted before",
    message: /reason of its signal, it was .*TransportError/,
    change: (good) => ({
      connect: (address, options) =>
        good.connect(address, options).catch((error) => {
          throw new TransportError("refused", String(error));
        }),
    }),
  },
  {
    what: "has another name",
    name: "has the name of its transport on both ends, and an address to connect to",
    message: /expected the transport "other"/,
    change: () => ({ name: "other" }),
  },
  {
    what: "says nothing of its code",
    name: "refuses connections after close",
    message: /code was "lost"/,
    change: (good) => ({
      connect: (address, options) =>
        good.connect(address, options).catch((error) => {
          throw error instanceof TransportError ? new TransportError("lost", error.message) : error;
        }),
    }),
  },
];

for (const { what, name, message, change } of listenerFaults) {
  Deno.test(`listenerConformance() fails the right case when a transport ${what}`, async () => {
    const good = memory();
    const transport: Transport = {
      name: good.name,
      address: good.address,
      listen: (address): Promise<Listener> => good.listen(address),
      connect: (address, options): Promise<Connection> => good.connect(address, options),
      ...change(good),
    };
    const failures = await failuresOf(listenerConformance(transport, undefined, QUICK));
    assert.match(failures.get(name) ?? "it passed", message);
  });
}

Deno.test("pairsOf() closes its listener when connect fails", async () => {
  const good = memory();
  const open = pairsOf({
    ...good,
    connect: () => Promise.reject(new TransportError("refused", "not today")),
  });
  await assert.rejects(open(), /not today/);
  (await good.listen()).close();
});
