/** A node that runs: its listener, its record, its line, and how all of them end. */
import type { Connection } from "../transport/transport.ts";
import { Acceptor } from "./acceptor.ts";
import type { Client, Contract, PeerInfo } from "./contract.ts";
import { Dialler } from "./dialler.ts";
import type { Registration } from "./discovery/discovery.ts";
import { type HandshakeInput, type HandshakeResult, type RefusalReason, shakeHands } from "./handshake.ts";
import { Line } from "./line.ts";
import { lineClient } from "./line_client.ts";
import { guardedListener, type NodeEventListener } from "./node_event.ts";
import type { ConnectPlan, NodePlan, ServePlan } from "./node_plan.ts";
import { Peer, type PeerEvent } from "./peer.ts";
import { onePlace, placesForMany } from "./places.ts";
import { addressToPublish, strangersReach } from "./reach.ts";

/** A node that was started. */
export interface RunningNode extends AsyncDisposable {
  /** Where it listens, with the real port; empty if it serves nothing. */
  readonly addresses: readonly string[];
  /** Everybody connected now, whoever dialled. */
  readonly peers: readonly Peer[];
  /** Resolves when the node is closed; never rejects. */
  readonly closed: Promise<void>;
  /**
   * Withdraws the record, takes no more connections and calls, lets open calls finish (limits.drainTimeoutMs), closes.
   * Does nothing more the second time. Never rejects: what cannot be closed is reported as a "problem".
   */
  close(): Promise<void>;
}

/** A started node, with its client if it connects. */
export interface StartedNode {
  readonly node: RunningNode;
  readonly client: Client<Contract> | null;
}

/**
 * Does what the plan says.
 *
 * @throws what the first step that failed threw; what was opened before is closed
 */
export async function startNode(plan: NodePlan, signal: AbortSignal | undefined): Promise<StartedNode> {
  const node = new NodeInMotion(plan);
  try {
    const stop = signal ?? new AbortController().signal;
    if (plan.serve !== null) await node.serve(plan.serve, stop);
    const client = plan.connect === null ? null : await node.connect(plan.connect, stop);
    stop.throwIfAborted();
    const close = (): void => void node.close();
    stop.addEventListener("abort", close, { once: true });
    // The signal may outlive many nodes, and would keep each of them.
    void node.closed.then(() => stop.removeEventListener("abort", close));
    return { node, client };
  } catch (error) {
    await node.close();
    throw error;
  }
}

class NodeInMotion implements RunningNode {
  readonly closed: Promise<void>;
  readonly #plan: NodePlan;
  readonly #report: NodeEventListener;
  readonly #addresses: string[] = [];
  #acceptor: Acceptor | null = null;
  #registration: Registration | null = null;
  #line: Line<Contract> | null = null;
  #closing: Promise<void> | null = null;
  #resolveClosed = (): void => {};

  constructor(plan: NodePlan) {
    this.#plan = plan;
    this.#report = guardedListener(plan.onEvent);
    this.closed = new Promise((resolve) => this.#resolveClosed = resolve);
  }

  get addresses(): readonly string[] {
    return [...this.#addresses];
  }

  get peers(): readonly Peer[] {
    const dialled = this.#line?.peer ?? null;
    return [...this.#acceptor?.peers ?? [], ...dialled === null ? [] : [dialled]];
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async serve(serve: ServePlan, signal: AbortSignal): Promise<void> {
    const { places, publish, discovery, codec, timers, handshake } = this.#plan;
    const listener = await serve.transport.listen();
    this.#addresses.push(listener.address);
    this.#report({ kind: "listening", address: listener.address });
    const showsNothing = handshake.mode === "none" || handshake.mode === "version-only";
    if (showsNothing && strangersReach(serve.transport.name, listener.address)) {
      this.#report({ kind: "strangers_can_call", address: listener.address });
    }
    this.#acceptor = new Acceptor({
      listener,
      places: places.kind === "one" ? onePlace() : placesForMany(places.maxConnections),
      timers,
      report: this.#report,
      shake: (connection, admit, stop) => this.#shakeAsListener(serve, connection, admit, stop),
      open: (shaken) => this.#openPeer(shaken, "listener", serve.serves, serve.calls),
    });
    signal.throwIfAborted();
    if (publish === null || discovery === null) return;
    this.#registration = await discovery.publish({
      name: publish.name,
      transport: serve.transport.name,
      codec: codec.id,
      addresses: publish.addresses ?? [addressToPublish(listener.address)],
    });
  }

  async connect(connect: ConnectPlan, signal: AbortSignal): Promise<Client<Contract>> {
    const { waitFor, discovery, codec, limits, timers, randomBytes } = this.#plan;
    const { contract, transport, serves } = connect;
    const dialler = new Dialler({
      transport,
      // To itself: port 0 of its own transport has a number by now.
      address: transport === this.#plan.serve?.transport ? this.#addresses[0] : undefined,
      wanted: waitFor === null || discovery === null ? null : { discovery, name: waitFor.name },
      codecId: codec.id,
      timeoutMs: limits.handshakeTimeoutMs,
      timers,
      shake: (connection, stop) => this.#shakeAsDialler(connect, connection, stop),
    });
    const line = new Line<Contract>({
      timers,
      randomBytes,
      report: this.#report,
      maxWaitingCalls: limits.maxWaitingCalls,
      dial: (stop) => dialler.dial(stop),
      news: (stop) => dialler.news(stop),
      open: (shaken) => this.#openPeer(shaken, "dialler", serves, contract),
    });
    this.#line = line;
    await line.begin(waitFor?.timeoutMs ?? connect.timeoutMs, signal);
    return lineClient({ contract, line, timers, defaultDeadlineMs: limits.defaultDeadlineMs });
  }

  #shakeAsListener(
    { serves, calls }: ServePlan,
    connection: Connection,
    admit: (peer: PeerInfo) => Promise<RefusalReason | null>,
    signal: AbortSignal,
  ): Promise<HandshakeResult> {
    const { publish, service } = this.#plan;
    return shakeHands({
      ...this.#handshakeParts(),
      role: "listener",
      connection,
      service: publish?.name ?? service,
      serves: serves.contract,
      calls,
      admit,
      signal,
    });
  }

  #shakeAsDialler(
    { contract, serves }: ConnectPlan,
    connection: Connection,
    signal: AbortSignal,
  ): Promise<HandshakeResult> {
    const { waitFor, service } = this.#plan;
    return shakeHands({
      ...this.#handshakeParts(),
      role: "dialler",
      connection,
      service: waitFor?.name ?? service,
      serves: serves?.contract ?? null,
      calls: contract,
      signal,
    });
  }

  #handshakeParts(): Pick<HandshakeInput, "policy" | "codecId" | "limits" | "timers" | "randomBytes"> {
    const { handshake, codec, limits, timers, randomBytes } = this.#plan;
    return { policy: handshake, codecId: codec.id, limits, timers, randomBytes };
  }

  #openPeer<Calls extends Contract>(
    { connection, peer, told }: HandshakeResult,
    role: "dialler" | "listener",
    serves: ServePlan["serves"] | null,
    calls: Calls | null,
  ): Peer<Calls> {
    const { codec, limits, timers } = this.#plan;
    const onEvent = (event: PeerEvent): void => this.#report(event);
    return new Peer({ connection, role, codec, serves, calls, peer, limits, told, timers, onEvent });
  }

  async #close(): Promise<void> {
    // The record first, so that nobody new is sent here while the rest is going on.
    await this.#quietly(() => this.#registration?.[Symbol.asyncDispose]());
    await Promise.all([
      this.#quietly(() => this.#acceptor?.close()),
      this.#quietly(() => this.#line?.close()),
    ]);
    this.#resolveClosed();
  }

  async #quietly(act: () => PromiseLike<void> | undefined): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.#report({ kind: "problem", error });
    }
  }
}
