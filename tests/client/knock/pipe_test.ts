import assert from "node:assert/strict";
import { type DuplexConnection, pipeBothWays, type PipeEnds } from "../../../src/client/knock/pipe.ts";
import { Failure } from "../../../src/system/failure.ts";

/** Local ends in memory. The input goes on as long as `write` is called, until `end`. */
class MemoryEnds implements PipeEnds {
  readonly #queue: (Uint8Array | null)[] = [];
  #wake: () => void = () => {};
  readonly written: Uint8Array[] = [];
  isOutputClosed = false;
  outputError: Error | null = null;

  give(...pieces: (Uint8Array | string | null)[]): this {
    for (const piece of pieces) this.#queue.push(typeof piece === "string" ? bytesOf(piece) : piece);
    this.#wake();
    return this;
  }

  readonly input = {
    read: async (buffer: Uint8Array): Promise<number | null> => {
      while (this.#queue.length === 0) await new Promise<void>((resolve) => this.#wake = resolve);
      const [piece = null] = this.#queue;
      if (piece === null) return null;
      const count = Math.min(piece.length, buffer.length);
      buffer.set(piece.subarray(0, count));
      if (count === piece.length) this.#queue.shift();
      else this.#queue[0] = piece.subarray(count);
      return count;
    },
  };

  readonly output = {
    // Takes only a part of what it is given, as a full pipe does.
    write: (bytes: Uint8Array): Promise<number> => {
      if (this.outputError !== null) return Promise.reject(this.outputError);
      const part = bytes.slice(0, 1000);
      this.written.push(part);
      return Promise.resolve(part.length);
    },
    close: (): void => {
      this.isOutputClosed = true;
    },
  };

  get text(): string {
    return new TextDecoder().decode(joined(this.written));
  }
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.length;
  }
  return whole;
}

async function readToEnd(connection: Deno.TcpConn): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const buffer = new Uint8Array(65_536);
  for (let count; (count = await connection.read(buffer)) !== null;) chunks.push(buffer.slice(0, count));
  return joined(chunks);
}

async function writeAll(connection: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) written += await connection.write(bytes.subarray(written));
}

/** Runs the pipe against a real TCP service, and the service to its end. */
async function pipeTo(service: (connection: Deno.TcpConn) => Promise<void>, ends: MemoryEnds): Promise<void> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const served = (async (): Promise<void> => {
    using connection = await listener.accept();
    await service(connection);
  })();
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  try {
    await pipeBothWays(connection, ends, "the service");
  } finally {
    await served;
  }
}

Deno.test("pipeBothWays() ends the input's direction alone, and the answer still comes", async () => {
  const ends = new MemoryEnds().give("what is ", "this?", null);
  await pipeTo(async (connection) => {
    const question = new TextDecoder().decode(await readToEnd(connection));
    await writeAll(connection, bytesOf(`answer to "${question}"`));
  }, ends);
  assert.equal(ends.text, 'answer to "what is this?"');
  assert(ends.isOutputClosed);
});

Deno.test("pipeBothWays() ends the answer's direction alone, and the input still goes", async () => {
  const ends = new MemoryEnds().give("before");
  let received = "";
  await pipeTo(async (connection) => {
    await writeAll(connection, bytesOf("that is all"));
    await connection.closeWrite();
    // The input goes on only after the output has been closed.
    while (!ends.isOutputClosed) await new Promise((resolve) => setTimeout(resolve, 1));
    ends.give(" and after", null);
    received = new TextDecoder().decode(await readToEnd(connection));
  }, ends);
  assert.equal(ends.text, "that is all");
  assert.equal(received, "before and after");
});

Deno.test("pipeBothWays() carries megabytes both ways at once, unchanged", async () => {
  const up = crypto.getRandomValues(new Uint8Array(65_536));
  const ups = Array.from({ length: 32 }, () => up);
  const ends = new MemoryEnds().give(...ups, null);
  let received = new Uint8Array();
  const down = Uint8Array.from(joined(ups)).reverse();
  await pipeTo(async (connection) => {
    const [all] = await Promise.all([
      readToEnd(connection),
      writeAll(connection, down).then(() => connection.closeWrite()),
    ]);
    received = Uint8Array.from(all);
  }, ends);
  assert.deepEqual(received, joined(ups));
  assert.deepEqual(joined(ends.written), down);
});

/** A connection that breaks as told: the runtime cannot make the kernel send a reset. */
function breaking(parts: Partial<DuplexConnection>): DuplexConnection & { isClosed: boolean } {
  return {
    isClosed: false,
    read: () => new Promise<number | null>(() => {}),
    write: (bytes) => Promise.resolve(bytes.length),
    closeWrite: () => Promise.resolve(),
    close(): void {
      this.isClosed = true;
    },
    ...parts,
  };
}

const RESET = new Deno.errors.ConnectionReset("reset by peer");

Deno.test("pipeBothWays() fails when the connection is reset, while the input still waits", async () => {
  const connection = breaking({ read: () => Promise.reject(RESET) });
  await assert.rejects(
    pipeBothWays(connection, new MemoryEnds(), "the service"),
    (error) =>
      error instanceof Failure && error.message === "lost the connection to the service" &&
      error.cause === RESET,
  );
  assert(connection.isClosed);
});

Deno.test("pipeBothWays() fails when sending breaks before the answers end, but reads them first", async () => {
  const answers = ["partial", " answer"].map(bytesOf);
  const connection = breaking({
    write: () => Promise.reject(new Deno.errors.BrokenPipe("gone")),
    read(buffer): Promise<number | null> {
      const answer = answers.shift();
      if (answer === undefined) return Promise.resolve(null);
      buffer.set(answer);
      return Promise.resolve(answer.length);
    },
  });
  const ends = new MemoryEnds().give("x");
  await assert.rejects(pipeBothWays(connection, ends, "the service"), Failure);
  assert.equal(ends.text, "partial answer");
  assert(connection.isClosed);
});

Deno.test("pipeBothWays() ends quietly when the other side went away after its answer", async () => {
  const ends = new MemoryEnds().give("hello");
  await pipeTo(async (connection) => {
    await connection.read(new Uint8Array(100));
    await writeAll(connection, bytesOf("bye"));
  }, giveUntilClosed(ends));
  assert.equal(ends.text, "bye");
});

/** Goes on typing after the end of the answer, until the kernel refuses what is typed. */
function giveUntilClosed(ends: MemoryEnds): MemoryEnds {
  const { close } = ends.output;
  ends.output.close = (): void => {
    close();
    ends.give(...Array<string>(100).fill("anybody there?"), null);
  };
  return ends;
}

Deno.test("pipeBothWays() ends quietly when the reader of the output has gone", async () => {
  const ends = new MemoryEnds();
  ends.outputError = new Deno.errors.BrokenPipe("gone");
  await pipeTo(async (connection) => {
    await writeAll(connection, bytesOf("for nobody"));
    await readToEnd(connection);
  }, ends);
});

Deno.test("pipeBothWays() fails when the input cannot be read", async () => {
  const ends = new MemoryEnds();
  ends.input.read = (): Promise<number | null> => Promise.reject(new Error("input broke"));
  await assert.rejects(
    pipeTo(async (connection) => {
      await readToEnd(connection).catch(() => {});
    }, ends),
    (error) =>
      error instanceof Failure && error.cause instanceof Error && error.cause.message === "input broke",
  );
});
