/** Sends knocks one by one and tells from the stamps what became of each. */
import type { KnockProgram } from "./program.ts";
import { listenOnLoopback } from "./loopback.ts";
import { holdsWithin, sleep } from "./sleep.ts";
import { freshIds } from "./stamp_file.ts";
import { makeWallClock } from "./wall_clock.ts";

export interface SeriesResult {
  readonly sent: number;
  readonly executed: number;
  /** Knocks whose command ran more than once. */
  readonly ranTwice: number;
  /** From sending to stamp, of those that were executed. */
  readonly latenciesMs: readonly number[];
}

/** How long a stamp may take when nothing is wrong; after this the knock counts as lost. */
const STAMP_LIMIT_MS = 2000;
/** Longer than a command runs, so that two knocks in a row never share the machine. */
const REST_MS = 15;

/** Sends one datagram to the program's port from the given address; a socket of its own for each address. */
export class Sender implements Disposable {
  readonly #sockets = new Map<string, Deno.DatagramConn>();

  async send(program: KnockProgram, packet: Uint8Array, from = "127.0.0.1"): Promise<void> {
    let socket = this.#sockets.get(from);
    if (socket === undefined) this.#sockets.set(from, socket = listenOnLoopback(from));
    await socket.send(packet, { transport: "udp", hostname: "127.0.0.1", port: program.port });
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets.values()) socket.close();
  }
}

/** Sends a knock and waits for its stamp; the milliseconds between, or null if it never came. */
export async function knockOnce(
  program: KnockProgram,
  how: "datagram" | "client",
  sender: Sender,
): Promise<number | null> {
  const [id = ""] = freshIds(1);
  const [packet] = how === "datagram" ? await program.makePackets([id]) : [];
  const wallMs = makeWallClock();
  const sentAtMs = wallMs();
  if (packet !== undefined) await sender.send(program, packet);
  else await program.clientCommand(id).output();
  await sleep(REST_MS);
  const arrived = await holdsWithin(STAMP_LIMIT_MS, () => program.stamps.read().has(id));
  const stampedAtMs = program.stamps.read().get(id)?.[0];
  return arrived && stampedAtMs !== undefined ? stampedAtMs - sentAtMs : null;
}

export interface PacedKnocks {
  readonly count: number;
  readonly gapMs: number;
  /** Local address of each knock, by its number. */
  readonly from?: (at: number) => string;
}

/**
 * Sends knocks at fixed times, whatever becomes of them, then waits until all are stamped or nothing more comes.
 * Packets are made beforehand: while they are sent there is nothing to do but send.
 */
export async function knockPaced(
  program: KnockProgram,
  sender: Sender,
  { count, gapMs, from }: PacedKnocks,
): Promise<Map<string, SentKnock>> {
  const ids = freshIds(count);
  const packets = await program.makePackets(ids);
  const wallMs = makeWallClock();
  const startMs = wallMs();
  const sent = new Map<string, SentKnock>();
  for (const [at, packet] of packets.entries()) {
    await sleep(startMs + at * gapMs - wallMs());
    const local = from?.(at) ?? "127.0.0.1";
    sent.set(ids[at] ?? "", { from: local, sentAtMs: wallMs() });
    await sender.send(program, packet, local);
  }
  return sent;
}

export interface SentKnock {
  readonly from: string;
  readonly sentAtMs: number;
}

/** What the stamps say about the knocks that were sent. Waits for the last ones. */
export async function judgeSeries(
  program: KnockProgram,
  sent: ReadonlyMap<string, SentKnock>,
): Promise<SeriesResult> {
  await holdsWithin(STAMP_LIMIT_MS, () => {
    const stamps = program.stamps.read();
    return sent.keys().every((id) => stamps.has(id));
  });
  const stamps = program.stamps.read();
  const latenciesMs: number[] = [];
  let ranTwice = 0;
  for (const [id, { sentAtMs }] of sent) {
    const [first, ...more] = stamps.get(id) ?? [];
    if (first !== undefined) latenciesMs.push(first - sentAtMs);
    if (more.length > 0) ranTwice++;
  }
  return { sent: sent.size, executed: latenciesMs.length, ranTwice, latenciesMs };
}
