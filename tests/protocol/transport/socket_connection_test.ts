import assert from "node:assert/strict";
import fc from "fast-check";
import {
  connectionFromSocket,
  type StreamSocket,
} from "../../../src/protocol/transport/socket_connection.ts";
import { connected, SocketListener } from "../../../src/protocol/transport/socket_listener.ts";
import { TransportError } from "../../../src/protocol/transport/transport.ts";

/** A socket whose every answer is given by the test. */
function fake(socket: Partial<StreamSocket>): StreamSocket {
  return {
    read: () => Promise.resolve(null),
    write: (bytes) => Promise.resolve(bytes.length),
    closeWrite: () => Promise.resolve(),
    close: () => {},
    ...socket,
  };
}

function named(name: string, message = "as the system says"): Error {
  return Object.assign(new Error(message), { name });
}

Deno.test("connectionFromSocket() writes everything when the socket takes parts of any size", async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 });
  await holdsAsync(fc.asyncProperty(fc.uint8Array({ maxLength: 500 }), sizes, async (bytes, sizes) => {
    const taken: number[] = [];
    let turn = 0;
    const connection = connectionFromSocket(
      fake({
        write: (piece) => {
          const count = Math.min(piece.length, sizes[turn++ % sizes.length] ?? 1);
          taken.push(...piece.subarray(0, count));
          return Promise.resolve(count);
        },
      }),
      { transport: "fake" },
    );
    await connection.write(bytes);
    assert.deepEqual(taken, [...bytes]);
  }));
});

async function holdsAsync<T>(property: fc.IAsyncProperty<T>): Promise<void> {
  const seed = Deno.env.get("POSTERN_SEED");
  await fc.assert(property, seed === undefined ? {} : { seed: Number(seed) });
}

Deno.test("connectionFromSocket() fails a write as lost when the socket takes nothing", async () => {
  const connection = connectionFromSocket(fake({ write: () => Promise.resolve(0) }), { transport: "fake" });
  await assert.rejects(connection.write(Uint8Array.of(1)), { name: "TransportError", code: "lost" });
});

Deno.test("connectionFromSocket() reads on when the socket gives nothing", async () => {
  const answers = [0, 0, 3];
  const connection = connectionFromSocket(fake({ read: () => Promise.resolve(answers.shift() ?? null) }), {
    transport: "fake",
  });
  assert.equal(await connection.read(new Uint8Array(8)), 3);
  assert.equal(await connection.read(new Uint8Array(8)), null);
});

Deno.test("connectionFromSocket() refuses to read into an empty buffer, where a socket would give 0 for ever", async () => {
  const connection = connectionFromSocket(fake({ read: () => Promise.resolve(0) }), { transport: "fake" });
  await assert.rejects(connection.read(new Uint8Array(0)), RangeError);
});

for (
  const name of ["ConnectionReset", "BrokenPipe", "ConnectionAborted", "TimedOut", "UnexpectedEof", "Error"]
) {
  Deno.test(`connectionFromSocket() says lost when the socket says ${name}`, async () => {
    const fails = (): Promise<never> => Promise.reject(named(name));
    const connection = connectionFromSocket(fake({ read: fails, write: fails }), { transport: "fake" });
    const lost = { name: "TransportError", code: "lost", message: /as the system says/ };
    await assert.rejects(connection.read(new Uint8Array(1)), lost);
    await assert.rejects(connection.write(new Uint8Array(1)), lost);
  });
}

Deno.test("connectionFromSocket() says tampered when a record of TLS cannot be decrypted", async () => {
  const connection = connectionFromSocket(
    fake({ read: () => Promise.reject(named("InvalidData", "cannot decrypt peer's message")) }),
    { transport: "fake" },
  );
  await assert.rejects(connection.read(new Uint8Array(1)), { code: "tampered" });
});

Deno.test("connectionFromSocket() ends writing quietly when the other end has gone already", async () => {
  const connection = connectionFromSocket(fake({ closeWrite: () => Promise.reject(named("NotConnected")) }), {
    transport: "fake",
  });
  await connection.closeWrite();
  await assert.rejects(connection.write(Uint8Array.of(1)), { code: "closed" });
});

Deno.test("SocketListener accept() goes on after accepts that fail, and pauses in between", async () => {
  let accepts = 0;
  const socket = {
    accept: (): Promise<string> => {
      accepts++;
      return accepts < 3
        ? Promise.reject(named("Error", "Too many open files (os error 24)"))
        : Promise.resolve("it");
    },
    close: () => {},
  };
  const made = connectionFromSocket(fake({}), { transport: "fake" });
  const listener = new SocketListener(socket, "here", () => made);
  const beganMs = performance.now();
  assert.equal(await listener.accept(), made);
  assert.equal(accepts, 3);
  assert.ok(
    performance.now() - beganMs >= 180,
    "it did not pause, and would spin while no descriptor is free",
  );
});

Deno.test({
  name: "SocketListener accept() does not pause for connections that were reset before they were taken",
  // With a pause after each it would take 100 s.
  timeout: 10_000,
  async fn(): Promise<void> {
    const names = ["NotConnected", "ConnectionAborted", "ConnectionReset"];
    let accepts = 0;
    const socket = {
      accept: (): Promise<string> => {
        const name = names[accepts++ % names.length] ?? "";
        return accepts <= 1000 ? Promise.reject(named(name)) : Promise.resolve("it");
      },
      close: () => {},
    };
    const made = connectionFromSocket(fake({}), { transport: "fake" });
    assert.equal(await new SocketListener(socket, "here", () => made).accept(), made);
    assert.equal(accepts, 1001);
  },
});

Deno.test("SocketListener accept() gives null at once when it is closed in a pause", async () => {
  const socket = { accept: () => Promise.reject(named("Error", "Too many open files")), close: () => {} };
  const listener = new SocketListener(
    socket,
    "here",
    () => connectionFromSocket(fake({}), { transport: "fake" }),
  );
  const accepting = listener.accept();
  await new Promise((resolve) => setTimeout(resolve, 0));
  listener.close();
  assert.equal(await accepting, null);
});

Deno.test("connected() closes the socket that comes after its signal was aborted", async () => {
  const late = Promise.withResolvers<{ close(): void }>();
  const controller = new AbortController();
  const connecting = connected(() => late.promise, controller.signal, "cannot connect", "nothing");
  controller.abort(new Error("enough"));
  await assert.rejects(connecting, /enough/);
  const closed = Promise.withResolvers<void>();
  late.resolve({ close: () => closed.resolve() });
  await closed.promise;
});

Deno.test("connected() leaves nothing on a signal that is used for many connections", async () => {
  const controller = new AbortController();
  let listeners = 0;
  const add = controller.signal.addEventListener.bind(controller.signal);
  const remove = controller.signal.removeEventListener.bind(controller.signal);
  controller.signal.addEventListener = (...args: Parameters<typeof add>) => (listeners++, add(...args));
  controller.signal.removeEventListener = (
    ...args: Parameters<typeof remove>
  ) => (listeners--, remove(...args));
  for (let count = 0; count < 10; count++) {
    await connected(
      () => Promise.resolve({ close: () => {} }),
      controller.signal,
      "cannot connect",
      "nothing",
    );
    const failing = connected(
      () => Promise.reject(named("ConnectionRefused")),
      controller.signal,
      "cannot",
      "nothing",
    );
    await assert.rejects(failing, (error) => error instanceof TransportError && error.code === "refused");
  }
  assert.equal(listeners, 0);
});
