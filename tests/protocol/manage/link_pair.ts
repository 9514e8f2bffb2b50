/** Two running links that talk to each other, for tests. */
import { RunningLink } from "../../../src/protocol/manage/running_link.ts";
import type { FlowConnection } from "../../../src/protocol/manage/flow_connection.ts";
import type { IncomingFlow } from "../../../src/protocol/manage/running_link.ts";
import { systemTimers, type Timers } from "../../../src/protocol/rpc/timers.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";

export const NOTHING = new Uint8Array(0);

/** Both sides, and what the other side of each has opened. */
export interface LinkPair {
  readonly dialler: RunningLink;
  readonly server: RunningLink;
  /** Flows that the dialler opens, as the server sees them. */
  readonly atServer: Inbox<IncomingFlow>;
  /** Flows that the server opens, as the dialler sees them. */
  readonly atDialler: Inbox<IncomingFlow>;
}

/** Things that come, to be waited for. */
export class Inbox<T> {
  readonly #come: T[] = [];
  readonly #waiting: ((item: T) => void)[] = [];

  add(item: T): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#come.push(item);
    else waiting(item);
  }

  next(): Promise<T> {
    const item = this.#come.shift();
    return item === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(item);
  }
}

/** Makes a pair over memory, or over the given two ends of a connection: the dialler's first. */
export function linkPair(
  timers: Timers = systemTimers,
  [near, far]: readonly [Connection, Connection] = memoryPair(),
): LinkPair {
  const atServer = new Inbox<IncomingFlow>(), atDialler = new Inbox<IncomingFlow>();
  const dialler = new RunningLink({
    connection: near,
    role: "dialler",
    received: NOTHING,
    timers,
    onOpen: (flow) => atDialler.add(flow),
  });
  const server = new RunningLink({
    connection: far,
    role: "server",
    received: NOTHING,
    timers,
    onOpen: (flow) => atServer.add(flow),
  });
  return { dialler, server, atServer, atDialler };
}

/** Opens a flow from the dialler, or from the server, and takes it: the opener's end first. */
export async function openFlow(
  pair: LinkPair,
  by: "dialler" | "server" = "dialler",
  windows: { readonly opener?: number; readonly taker?: number } = {},
): Promise<readonly [FlowConnection, FlowConnection]> {
  const opening = pair[by].open(
    "session",
    NOTHING,
    windows.opener === undefined ? {} : { windowBytes: windows.opener },
  );
  const incoming = await pair[by === "dialler" ? "atServer" : "atDialler"].next();
  const far = incoming.accept(NOTHING, windows.taker === undefined ? {} : { windowBytes: windows.taker });
  return [(await opening).connection, far];
}

/** Ends both sides; everything is let go when it settles. */
export async function endPair({ dialler, server }: LinkPair): Promise<void> {
  dialler.close("shutting_down", "");
  await Promise.all([dialler.closed, server.closed]);
}
