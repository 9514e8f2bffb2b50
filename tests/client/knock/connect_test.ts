import assert from "node:assert/strict";
import {
  type ConnectMachine,
  type ConnectPace,
  connectThroughKnock,
} from "../../../src/client/knock/connect.ts";
import type { DuplexConnection, PipeEnds } from "../../../src/client/knock/pipe.ts";
import type { SendKnockOptions, SendReport } from "../../../src/client/knock/send.ts";
import { Failure, UsageFailure } from "../../../src/system/failure.ts";

const KNOCK: SendKnockOptions = { address: "127.0.0.1:9", key: "a key" };
/** Fast enough for a test; the order of things is the same. */
const PACE: ConnectPace = { knockPeriodMs: 20, dialPeriodMs: 5, dialTimeoutMs: 50 };
const LONG_MS = 20_000;

function report(changes: Partial<SendReport> = {}): SendReport {
  return { command: "default", destinations: [], warnings: [], ...changes };
}

/** Local ends: all of the input at once, and everything that was put out. */
function memoryEnds(input: string): PipeEnds & { text: () => string } {
  let rest: Uint8Array | null = new TextEncoder().encode(input);
  const decoder = new TextDecoder();
  let written = "";
  return {
    input: {
      read(buffer): Promise<number | null> {
        const piece = rest;
        rest = null;
        if (piece === null) return Promise.resolve(null);
        buffer.set(piece);
        return Promise.resolve(piece.length);
      },
    },
    output: {
      write(bytes): Promise<number> {
        written += decoder.decode(bytes, { stream: true });
        return Promise.resolve(bytes.length);
      },
      close(): void {},
    },
    text: () => written,
  };
}

/** A port that is closed until somebody opens it, as behind a firewall; then it answers in capitals. */
class Door implements AsyncDisposable {
  readonly port: number;
  #listener: Deno.TcpListener | null = null;
  #serving: Promise<void> = Promise.resolve();

  constructor() {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = listener.addr.port;
  }

  open(): void {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: this.port });
    this.#serving = this.#serve(this.#listener);
  }

  async #serve(listener: Deno.TcpListener): Promise<void> {
    for await (const connection of listener) {
      using _ = connection;
      const buffer = new Uint8Array(1000);
      let text = "";
      for (let count; (count = await connection.read(buffer)) !== null;) {
        text += new TextDecoder().decode(buffer.subarray(0, count));
      }
      await connection.write(new TextEncoder().encode(text.toUpperCase())).catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener?.close();
    await this.#serving;
  }
}

async function connect(
  port: number,
  machine: Partial<ConnectMachine>,
  options: { waitMs?: number; ends?: PipeEnds; notices?: string[] } = {},
): Promise<void> {
  await connectThroughKnock(
    { knock: KNOCK, to: `127.0.0.1:${port}`, waitMs: options.waitMs ?? LONG_MS },
    options.ends ?? memoryEnds(""),
    (text) => options.notices?.push(text),
    { pace: PACE, ...machine },
  );
}

Deno.test("connectThroughKnock() knocks, connects when the port opens, and carries both ways", async () => {
  await using door = new Door();
  const ends = memoryEnds("hello");
  let knocks = 0;
  await connect(door.port, {
    knock: (options) => {
      assert.equal(options, KNOCK);
      if (++knocks === 1) door.open();
      return Promise.resolve(report());
    },
  }, { ends });
  assert.equal(ends.text(), "HELLO");
  assert.equal(knocks, 1);
});

Deno.test("connectThroughKnock() knocks again when a knock was lost", async () => {
  await using door = new Door();
  const ends = memoryEnds("hello");
  let knocks = 0;
  await connect(door.port, {
    knock: () => {
      if (++knocks === 3) door.open();
      return Promise.resolve(report());
    },
  }, { ends });
  assert.equal(ends.text(), "HELLO");
  assert(knocks >= 3);
});

Deno.test("connectThroughKnock() gives up in time, and says how often it knocked and what was found", async () => {
  await using door = new Door();
  let knocks = 0;
  await assert.rejects(
    connect(door.port, { knock: () => (knocks++, Promise.resolve(report())) }, { waitMs: 150 }),
    (error) => {
      assert(error instanceof Failure);
      assert(error.message.includes(`within 0.15 s: knocked ${knocks} times, last try: Connection refused`));
      assert.match(error.hint ?? "", /server's log/);
      return true;
    },
  );
  assert(knocks >= 2);
});

/** A connection whose other side says nothing and is done at once. */
function silentConnection(onClose: () => void): DuplexConnection {
  return {
    read: () => Promise.resolve(null),
    write: (bytes) => Promise.resolve(bytes.length),
    closeWrite: () => Promise.resolve(),
    close: onClose,
  };
}

Deno.test("connectThroughKnock() drops a dial that is never answered, and tries others meanwhile", async () => {
  let dials = 0;
  let aborted = 0;
  let closed = 0;
  await connect(22, {
    knock: () => Promise.resolve(report()),
    dial: (_host, _port, signal) => {
      if (++dials < 20) {
        return new Promise((_resolve, reject) =>
          signal.addEventListener("abort", () => (aborted++, reject(signal.reason)))
        );
      }
      return Promise.resolve(silentConnection(() => closed++));
    },
  });
  assert.equal(aborted, dials - 1, "a dial was left behind");
  assert.equal(closed, 1);
});

Deno.test("connectThroughKnock() says so when no dial was answered at all", async () => {
  await assert.rejects(
    connect(22, {
      knock: () => Promise.resolve(report()),
      dial: (_host, _port, signal) =>
        new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    }, { waitMs: 120 }),
    (error) => error instanceof Failure && error.message.endsWith("last try: no answer"),
  );
});

Deno.test("connectThroughKnock() closes every connection that opens too late", async () => {
  const opened: number[] = [];
  const closed: number[] = [];
  const late: (() => void)[] = [];
  let dials = 0;
  await connect(22, {
    knock: () => Promise.resolve(report()),
    dial: () => {
      const id = ++dials;
      return new Promise((resolve) => {
        const open = (): void => {
          opened.push(id);
          resolve(silentConnection(() => closed.push(id)));
        };
        late.push(open);
        // The fifth opens all that were waiting.
        if (id === 5) { for (const each of late) each(); }
      });
    },
  });
  assert.deepEqual(opened, [1, 2, 3, 4, 5]);
  assert.deepEqual(closed.toSorted((a, b) => a - b), opened);
});

Deno.test("connectThroughKnock() fails at once when the first knock cannot be sent", async () => {
  const failure = new Failure("cannot knock");
  await assert.rejects(
    connect(22, {
      knock: () => Promise.reject(failure),
      dial: () => {
        throw new Error("dialed");
      },
    }),
    failure,
  );
});

Deno.test("connectThroughKnock() tells what goes wrong on the way, the same trouble once, and goes on", async () => {
  await using door = new Door();
  const notices: string[] = [];
  let knocks = 0;
  await connect(door.port, {
    knock: () => {
      knocks++;
      if (knocks === 1) {
        return Promise.resolve(report({
          warnings: ["counter far ahead"],
          destinations: [{ ip: "::1", port: 9, counter: null, error: "no route" }],
        }));
      }
      if (knocks === 4) door.open();
      return Promise.reject(new Failure("network is down"));
    },
  }, { notices });
  assert.deepEqual(notices, [
    "warning: counter far ahead",
    "warning: no knock sent to [::1]:9: no route",
    "warning: network is down",
  ]);
});

Deno.test("connectThroughKnock() refuses an address without a port before it knocks", async () => {
  await assert.rejects(
    connectThroughKnock(
      { knock: KNOCK, to: "127.0.0.1", waitMs: 1 },
      memoryEnds(""),
      () => {},
      { knock: () => Promise.reject(new Error("knocked")) },
    ),
    UsageFailure,
  );
});
