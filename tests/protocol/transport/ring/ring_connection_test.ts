import assert from "node:assert/strict";
import {
  pairBytes,
  READER_SLEEPS,
  type Ring,
  RingReader,
  ringsIn,
  RingWriter,
  WRITER_SLEEPS,
} from "../../../../src/protocol/transport/ring/ring.ts";
import { RingConnection, type RingLink } from "../../../../src/protocol/transport/ring/ring_connection.ts";
import { TransportError } from "../../../../src/protocol/transport/transport.ts";

const RING_BYTES = 4096;
const NAME = { transport: "test", remoteAddress: "there", localAddress: null };

/** A link whose other side is the test. */
class TestLink implements RingLink {
  gone = false;
  isClosed = false;
  /** Words at which the other side was woken. */
  readonly woken: number[] = [];
  #sleeper = Promise.withResolvers<void>();
  /** Settles when the connection sleeps. */
  asleep = Promise.withResolvers<void>();

  wake(_words: Int32Array, index: number): void {
    this.woken.push(index);
  }

  sleep(): Promise<unknown> {
    this.asleep.resolve();
    return this.#sleeper.promise;
  }

  close(): void {
    this.isClosed = true;
    this.rouse();
  }

  rouse(): void {
    this.#sleeper.resolve();
    this.#sleeper = Promise.withResolvers();
    this.asleep = Promise.withResolvers();
  }
}

interface Scene {
  readonly connection: RingConnection;
  readonly link: TestLink;
  /** The two rings as the connection sees them. */
  readonly incoming: Ring;
  readonly outgoing: Ring;
  /** The other side. */
  readonly writer: RingWriter;
  readonly reader: RingReader;
}

function scene(): Scene {
  const [incoming, outgoing] = ringsIn(new SharedArrayBuffer(pairBytes(RING_BYTES)), 0, RING_BYTES);
  const link = new TestLink();
  const connection = new RingConnection(NAME, incoming, outgoing, link);
  const writer = new RingWriter(incoming), reader = new RingReader(outgoing);
  return { connection, link, incoming, outgoing, writer, reader };
}

/** Registers a test in which nothing but a timer keeps the program alive: a link of the test has nothing that does. */
function testHeld(name: string, act: () => Promise<void>): void {
  Deno.test({
    name,
    timeout: 10_000,
    async fn(): Promise<void> {
      const timer = setInterval(() => {}, 1_000);
      try {
        await act();
      } finally {
        clearInterval(timer);
      }
    },
  });
}

function code(expected: string): (error: unknown) => boolean {
  return (error) => error instanceof TransportError && error.code === expected;
}

testHeld(
  "RingConnection.read() gives all that a side wrote before it died, and then fails as lost",
  async () => {
    const { connection, link, writer } = scene();
    writer.write(Uint8Array.of(1, 2, 3));
    link.gone = true;
    const buffer = new Uint8Array(2);
    assert.equal(await connection.read(buffer), 2);
    assert.equal(await connection.read(buffer), 1);
    await assert.rejects(connection.read(buffer), code("lost"));
  },
);

testHeld("RingConnection.read() fails as lost when the other side dies while it sleeps", async () => {
  const { connection, link } = scene();
  const reading = connection.read(new Uint8Array(1));
  await link.asleep.promise;
  link.gone = true;
  link.rouse();
  await assert.rejects(reading, code("lost"));
});

testHeld("RingConnection.write() fails as lost when the other side dies while it sleeps", async () => {
  const { connection, link } = scene();
  const writing = connection.write(new Uint8Array(RING_BYTES + 1));
  await link.asleep.promise;
  link.gone = true;
  link.rouse();
  await assert.rejects(writing, code("lost"));
});

/** Makes the connection sleep once in vain, so that the next time it sleeps without turns before. */
async function sleptOnce({ connection, link, writer }: Scene): Promise<void> {
  const reading = connection.read(new Uint8Array(1));
  await link.asleep.promise;
  writer.write(Uint8Array.of(1));
  link.rouse();
  await reading;
}

for (const act of ["read", "write"] as const) {
  testHeld(
    `RingConnection.${act}() does not sleep after close() or a death it was not yet told of`,
    async () => {
      for (const end of ["closed", "lost"] as const) {
        const parts = scene();
        const { connection, link } = parts;
        await sleptOnce(parts);
        let sleeps = 0;
        link.sleep = () => {
          sleeps++;
          return Promise.resolve();
        };
        const acting = connection[act](new Uint8Array(RING_BYTES + 1));
        if (end === "closed") connection.close();
        else link.gone = true;
        await assert.rejects(acting, code(end));
        assert.equal(sleeps, 0);
      }
    },
  );
}

testHeld("RingConnection.read() leaves memory alone that close() has taken away under it", async () => {
  const memory = new ArrayBuffer(pairBytes(RING_BYTES));
  const [incoming, outgoing] = ringsIn(memory, 0, RING_BYTES);
  const link = new TestLink();
  const connection = new RingConnection(NAME, incoming, outgoing, link);
  const parts = { connection, link, incoming, outgoing, writer: new RingWriter(incoming) };
  await sleptOnce({ ...parts, reader: new RingReader(outgoing) });
  const reading = connection.read(new Uint8Array(1));
  connection.close();
  memory.transfer(0);
  await assert.rejects(reading, code("closed"));
});

testHeld(
  "RingConnection.read() gives null after what came before the end, also when the other side is gone",
  async () => {
    for (const say of ["end", "leave"] as const) {
      const { connection, link, writer } = scene();
      writer.write(Uint8Array.of(1));
      writer[say]();
      link.gone = true;
      const buffer = new Uint8Array(9);
      assert.equal(await connection.read(buffer), 1);
      assert.equal(await connection.read(buffer), null);
      assert.equal(await connection.read(buffer), null);
    }
  },
);

testHeld("RingConnection closes itself when the other side writes an impossible index or state", async () => {
  const tamperings: readonly ((parts: Scene) => Promise<unknown>)[] = [
    ({ connection, incoming }) => {
      Atomics.store(incoming.words, 0, RING_BYTES + 1);
      return connection.read(new Uint8Array(1));
    },
    ({ connection, incoming }) => {
      Atomics.store(incoming.words, 1, 9);
      return connection.read(new Uint8Array(1));
    },
    ({ connection, outgoing }) => {
      Atomics.store(outgoing.words, 16, 1);
      return connection.write(new Uint8Array(1));
    },
    ({ connection, outgoing }) => {
      Atomics.store(outgoing.words, 17, 9);
      return connection.write(new Uint8Array(1));
    },
  ];
  for (const tamper of tamperings) {
    const parts = scene();
    await assert.rejects(tamper(parts), code("tampered"));
    assert.equal(parts.link.isClosed, true);
    await assert.rejects(parts.connection.read(new Uint8Array(1)), code("closed"));
    await assert.rejects(parts.connection.write(new Uint8Array(1)), code("closed"));
  }
});

testHeld("RingConnection.read() sees bytes that come while it is about to sleep", async () => {
  const { connection, link, writer } = scene();
  const { store } = Atomics;
  // In the very moment in which the word goes up, the other side has written already and found it down.
  Atomics.store = ((words: Int32Array, index: number, value: number): number => {
    if (index === READER_SLEEPS && value === 1) writer.write(Uint8Array.of(7));
    return store(words, index, value);
  }) as typeof store;
  try {
    const buffer = new Uint8Array(1);
    assert.equal(await connection.read(buffer), 1);
    assert.equal(buffer[0], 7);
  } finally {
    Atomics.store = store;
  }
  assert.deepEqual(link.woken, []);
});

testHeld("RingConnection.write() wakes a reader who sleeps, once, and nobody who does not", async () => {
  const { connection, link, outgoing } = scene();
  await connection.write(Uint8Array.of(1));
  assert.deepEqual(link.woken, []);
  Atomics.store(outgoing.words, READER_SLEEPS, 1);
  await connection.write(Uint8Array.of(1));
  await connection.write(Uint8Array.of(1));
  assert.deepEqual(link.woken, [READER_SLEEPS]);
  assert.equal(outgoing.words[READER_SLEEPS], 0);
});

testHeld("RingConnection.read() wakes a writer without room when half of the ring is free", async () => {
  const { connection, link, incoming, writer } = scene();
  assert.equal(writer.write(new Uint8Array(RING_BYTES)), RING_BYTES);
  Atomics.store(incoming.words, WRITER_SLEEPS, 1);
  await connection.read(new Uint8Array(RING_BYTES / 2 - 1));
  assert.deepEqual(link.woken, []);
  await connection.read(new Uint8Array(1));
  assert.deepEqual(link.woken, [WRITER_SLEEPS]);
});

testHeld("RingConnection lets the reader begin with the first part of a long write", async () => {
  const { connection, link, outgoing, reader } = scene();
  Atomics.store(outgoing.words, READER_SLEEPS, 1);
  let unreadWhenWoken = 0;
  link.wake = () => {
    unreadWhenWoken = reader.unread();
  };
  await connection.write(new Uint8Array(RING_BYTES));
  assert.equal(unreadWhenWoken, RING_BYTES / 4);
});

testHeld(
  "RingConnection.closeWrite() ends the stream after a write that waits, and wakes the reader",
  async () => {
    const { connection, link, reader } = scene();
    const writing = connection.write(new Uint8Array(RING_BYTES + 1));
    await link.asleep.promise;
    const ending = connection.closeWrite();
    assert.equal(reader.writerState(), "open");
    reader.read(new Uint8Array(RING_BYTES));
    link.rouse();
    await writing;
    await ending;
    assert.equal(reader.writerState(), "ended");
    assert.equal(reader.unread(), 1);

    const quiet = scene();
    Atomics.store(quiet.outgoing.words, READER_SLEEPS, 1);
    await quiet.connection.closeWrite();
    assert.deepEqual(quiet.link.woken, [READER_SLEEPS]);
  },
);

Deno.test("RingConnection.close() tells both rings and wakes whoever sleeps there", () => {
  const { connection, link, incoming, outgoing, writer, reader } = scene();
  Atomics.store(outgoing.words, READER_SLEEPS, 1);
  Atomics.store(incoming.words, WRITER_SLEEPS, 1);
  connection.close();
  assert.deepEqual([reader.writerState(), writer.readerState()], ["left", "left"]);
  assert.deepEqual(link.woken, [READER_SLEEPS, WRITER_SLEEPS]);
  assert.equal(link.isClosed, true);
});

testHeld(
  "RingConnection.read() lets timers have their turn while there always is something to read",
  async () => {
    const { connection, writer } = scene();
    let isOver = false;
    const timer = setTimeout(() => {
      isOver = true;
    }, 5);
    const buffer = new Uint8Array(1);
    const endMs = performance.now() + 5_000;
    while (!isOver && performance.now() < endMs) {
      writer.write(buffer);
      await connection.read(buffer);
    }
    clearTimeout(timer);
    assert.equal(isOver, true);
  },
);

testHeld("RingConnection.write() lets timers have their turn while there always is room", async () => {
  const { connection, reader } = scene();
  let isOver = false;
  const timer = setTimeout(() => {
    isOver = true;
  }, 5);
  const buffer = new Uint8Array(1);
  const endMs = performance.now() + 5_000;
  while (!isOver && performance.now() < endMs) {
    await connection.write(buffer);
    reader.read(buffer);
  }
  clearTimeout(timer);
  assert.equal(isOver, true);
});

testHeld(
  "RingConnection.read() does not starve the program when its wait is always ended at once",
  async () => {
    const { connection, link, writer } = scene();
    // What a hostile side can do: take the word down again and again, so that waiting for it is no wait.
    link.sleep = () => null as unknown as Promise<unknown>;
    const timer = setTimeout(() => writer.write(Uint8Array.of(7)), 5);
    const buffer = new Uint8Array(1);
    assert.equal(await connection.read(buffer), 1);
    assert.equal(buffer[0], 7);
    clearTimeout(timer);
  },
);

testHeld("RingConnection.read() refuses an empty buffer, which would wait for ever", async () => {
  await assert.rejects(scene().connection.read(new Uint8Array(0)), RangeError);
});
