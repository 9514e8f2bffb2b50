/** Cases about listening and connecting. */
import { type Connection, type Listener, type Transport, TransportError } from "../transport.ts";
import {
  closeQuietly,
  type ConformanceCase,
  ConformanceError,
  pause,
  type Settings,
  waitingWithin,
  type Within,
} from "./case.ts";
import { expectFailure, readPattern } from "./expect.ts";
import { patternBytes } from "./pattern.ts";

/** Connections begun before the first is accepted. */
const PENDING = 100;
const GREETING_BYTES = 8;

/** What a case works with. */
interface Place {
  readonly transport: Transport;
  /** Listens where the suite was told to. */
  readonly listen: () => Promise<Listener>;
  readonly within: Within;
  readonly settings: Settings;
}

/** All of them. */
export function listenerCases(
  transport: Transport,
  address: string | undefined,
  settings: Settings,
): readonly ConformanceCase[] {
  const within = waitingWithin(settings);
  const listen = (): Promise<Listener> => within(transport.listen(address), "listen() to settle");
  const each = (name: string, act: (place: Place) => Promise<void>): ConformanceCase => ({
    name,
    async run(): Promise<void> {
      try {
        await act({ transport, listen, within, settings });
      } catch (error) {
        if (error instanceof ConformanceError) throw error;
        throw new ConformanceError(`expected that it ${name}, there was an error: ${String(error)}`, {
          cause: error,
        });
      }
    },
  });
  return [
    each("has the name of its transport on both ends, and an address to connect to", names),
    each("ends accept with null when it is closed, and stays closed", closeEndsAccept),
    each("leaves connections that were accepted open when it is closed", acceptedStay),
    each(`takes ${PENDING} connections that were begun before it accepts`, manyPending),
    each("can be opened again at its address after close", listensAgain),
    each("refuses a second listener at its address", secondListener),
    each("refuses connections after close", refused),
    each("does not begin to connect when the signal was aborted before", abortedBefore),
    each("gives up to connect when the signal is aborted, and goes on taking others", abortedMeanwhile),
    each("leaves a connection alone when the signal of its connect is aborted later", abortedAfterwards),
  ];
}

/** Connects and accepts; what is accepted for nobody, such as an aborted attempt, is closed and passed over. */
export async function connectAndAccept(
  transport: Transport,
  listener: Listener,
): Promise<readonly [Connection, Connection]> {
  const accepting = listener.accept();
  let connected: Connection;
  try {
    connected = await transport.connect(listener.address);
  } catch (error) {
    // Otherwise nobody would ever look at what accept gives.
    listener.close();
    accepting.then((connection) => connection?.close(), () => {});
    throw error;
  }
  const accepted = await accepting;
  if (accepted !== null) return [connected, accepted];
  connected.close();
  throw new ConformanceError("expected accept() to give the connection that was made, it gave null");
}

async function names({ transport, listen, within }: Place): Promise<void> {
  const listener = await listen();
  const ends: Connection[] = [];
  try {
    ends.push(...await within(connectAndAccept(transport, listener), "a connection to listener.address"));
    for (const end of ends) {
      if (end.transport === transport.name) continue;
      throw new ConformanceError(
        `expected the transport "${transport.name}", a connection says "${end.transport}"`,
      );
    }
    const [first, second] = ends;
    if (first?.confidential !== second?.confidential) {
      throw new ConformanceError("expected both ends to say the same about `confidential`");
    }
  } finally {
    closeAll(listener, ends);
  }
}

async function closeEndsAccept({ listen, within, settings }: Place): Promise<void> {
  const listener = await listen();
  const accepting = listener.accept();
  accepting.catch(() => {});
  await pause(0, settings);
  closesQuietly(listener);
  await acceptsNull(accepting, within, "an accept that waits when the listener is closed");
  await acceptsNull(listener.accept(), within, "an accept after close");
  closesQuietly(listener);
}

async function acceptsNull(
  accepting: Promise<Connection | null>,
  within: Within,
  what: string,
): Promise<void> {
  let connection: Connection | null;
  try {
    connection = await within(accepting, `${what} to give null`);
  } catch (error) {
    if (error instanceof ConformanceError) throw error;
    throw new ConformanceError(`expected ${what} to give null, it was rejected: ${String(error)}`, {
      cause: error,
    });
  }
  if (connection === null) return;
  connection.close();
  throw new ConformanceError(`expected ${what} to give null, it gave a connection`);
}

function closesQuietly(listener: Listener): void {
  try {
    listener.close();
  } catch (error) {
    throw new ConformanceError(`expected close() never to throw, it threw ${String(error)}`, {
      cause: error,
    });
  }
}

async function acceptedStay({ transport, listen, within, settings }: Place): Promise<void> {
  const listener = await listen();
  const ends: Connection[] = [];
  try {
    ends.push(...await within(connectAndAccept(transport, listener), "a connection to listener.address"));
    listener.close();
    await pause(0, settings);
    await greet(ends, within, "bytes to arrive over a connection accepted before the listener was closed");
  } finally {
    closeAll(listener, ends);
  }
}

async function manyPending({ transport, listen, within }: Place): Promise<void> {
  const listener = await listen();
  const ends: Connection[] = [];
  const keep = (connection: Connection | null): Connection => {
    if (connection === null) {
      throw new ConformanceError("expected accept() to give a connection, it gave null");
    }
    ends.push(connection);
    return connection;
  };
  try {
    const connecting = Array.from({ length: PENDING }, async (_, number) => {
      const connection = keep(await transport.connect(listener.address));
      await connection.write(Uint8Array.of(number));
    });
    const connected = Promise.allSettled(connecting);
    const numbers = new Set<number>();
    for (let count = 0; count < PENDING; count++) {
      const connection = keep(
        await within(listener.accept(), `connection ${count + 1} of ${PENDING} to be accepted`),
      );
      const buffer = new Uint8Array(1);
      await within(connection.read(buffer), "the first byte of a connection to arrive");
      numbers.add(buffer[0] ?? -1);
    }
    for (const outcome of await within(connected, `${PENDING} connects to settle`)) {
      if (outcome.status === "rejected") throw outcome.reason;
    }
    if (numbers.size !== PENDING) {
      throw new ConformanceError(`expected ${PENDING} different connections, ${numbers.size} were accepted`);
    }
  } finally {
    closeAll(listener, ends);
  }
}

async function listensAgain({ transport, listen, within }: Place): Promise<void> {
  (await listen()).close();
  const listener = await listen();
  const ends: Connection[] = [];
  try {
    ends.push(...await within(connectAndAccept(transport, listener), "a connection to the second listener"));
    await greet(ends, within, "bytes to arrive over a connection to the second listener");
  } finally {
    closeAll(listener, ends);
  }
}

async function secondListener({ transport, listen, within }: Place): Promise<void> {
  const listener = await listen();
  try {
    const second = transport.listen(listener.address);
    second.then((taken) => taken.close(), () => {});
    await expectFailure(second, within, "a second listen at the address of the first", "address");
  } finally {
    listener.close();
  }
  // Trying must not have taken the place away from others.
  (await listen()).close();
}

async function refused({ transport, listen, within }: Place): Promise<void> {
  const listener = await listen();
  listener.close();
  const connecting = transport.connect(listener.address);
  connecting.then((connection) => connection.close(), () => {});
  await expectFailure(connecting, within, "connect to a listener that is closed", "refused");
}

async function abortedBefore({ transport, listen, within }: Place): Promise<void> {
  const listener = await listen();
  try {
    const signal = AbortSignal.abort(new Error("not wanted"));
    await expectReason(transport.connect(listener.address, { signal }), signal, within);
  } finally {
    listener.close();
  }
}

async function abortedMeanwhile({ transport, listen, within }: Place): Promise<void> {
  const listener = await listen();
  const ends: Connection[] = [];
  try {
    const controller = new AbortController();
    const connecting = transport.connect(listener.address, { signal: controller.signal });
    controller.abort(new Error("not wanted any more"));
    await expectReason(connecting, controller.signal, within);

    const next = transport.connect(listener.address);
    next.then((connection) => ends.push(connection), () => {});
    const talk = async (): Promise<void> => (await next).write(patternBytes(GREETING_BYTES, 0));
    const talked = talk();
    talked.catch(() => {});
    await within(acceptGreeting(listener, ends), "a connection to be accepted after one that was given up");
    await within(talked, "bytes to be written over a connection made after one that was given up");
  } finally {
    closeAll(listener, ends);
  }
}

/** Accepts until a connection brings a greeting; the attempt that was given up may come first, and end. */
async function acceptGreeting(listener: Listener, ends: Connection[]): Promise<void> {
  for (;;) {
    const connection = await listener.accept();
    if (connection === null) {
      throw new ConformanceError("expected accept() to give a connection, it gave null");
    }
    ends.push(connection);
    const greeted = await readPattern(connection, 0, GREETING_BYTES).then(() => true, () => false);
    if (greeted) return;
  }
}

async function expectReason(
  connecting: Promise<Connection>,
  signal: AbortSignal,
  within: Within,
): Promise<void> {
  connecting.then((connection) => connection.close(), () => {});
  const wanted = "connect to be rejected with the reason of its signal";
  const error = await within(connecting.then(() => null, (error: unknown) => ({ error })), wanted);
  if (error === null) throw new ConformanceError(`expected ${wanted}, it gave a connection`);
  if (error.error === signal.reason) return;
  const code = error.error instanceof TransportError ? ` (TransportError "${error.error.code}")` : "";
  throw new ConformanceError(`expected ${wanted}, it was ${String(error.error)}${code}`, {
    cause: error.error,
  });
}

async function abortedAfterwards({ transport, listen, within, settings }: Place): Promise<void> {
  const listener = await listen();
  const ends: Connection[] = [];
  try {
    const controller = new AbortController();
    const accepting = listener.accept();
    accepting.catch(() => {});
    ends.push(
      await within(transport.connect(listener.address, { signal: controller.signal }), "a connection"),
    );
    const accepted = await within(accepting, "the connection to be accepted");
    if (accepted === null) throw new ConformanceError("expected accept() to give a connection, it gave null");
    ends.push(accepted);
    controller.abort(new Error("too late"));
    await pause(0, settings);
    await greet(ends, within, "bytes to arrive over a connection whose signal was aborted after it was made");
  } finally {
    closeAll(listener, ends);
  }
}

async function greet(ends: readonly Connection[], within: Within, what: string): Promise<void> {
  const [first, second] = ends;
  if (first === undefined || second === undefined) {
    throw new ConformanceError("expected two ends of a connection");
  }
  await within(
    Promise.all([
      first.write(patternBytes(GREETING_BYTES, 1)),
      second.write(patternBytes(GREETING_BYTES, 2)),
      readPattern(second, 1, GREETING_BYTES),
      readPattern(first, 2, GREETING_BYTES),
    ]),
    what,
  );
}

function closeAll(listener: Listener, ends: readonly Connection[]): void {
  closeQuietly(listener, ...ends);
}
