/** The listening end of worker rings; the dialogue stands in worker_ring.ts. */
import { AcceptQueue, MAX_WAITING_CONNECTIONS } from "../accept_queue.ts";
import { ListenedNames } from "../listened_names.ts";
import type { BasePort } from "../message_port_connection.ts";
import type { Connection, Listener } from "../transport.ts";
import { joinAgentLock } from "./agent_lock.ts";
import { isRingBytes, pairBytes, ringsIn } from "./ring.ts";
import { RingConnection } from "./ring_connection.ts";
import { SharedLink } from "./shared_link.ts";
import { type RingMessage, ringMessage, WORKER_RING } from "./worker_ring_dialogue.ts";

const names = new ListenedNames();

/**
 * Listens.
 *
 * @throws {TransportError} if somebody listens on that name of the base port already
 */
export function listenForRings(base: BasePort, name: string): Listener {
  return new RingListener(base, name, names.take(base, name, "for shared memory"));
}

/**
 * Size of the rings in a memory that came from outside.
 *
 * @returns null if it is no memory of two rings
 */
export function ringBytesOf(memory: SharedArrayBuffer): number | null {
  const ringBytes = (memory.byteLength - pairBytes(0)) / 2;
  return isRingBytes(ringBytes) ? ringBytes : null;
}

class RingListener implements Listener {
  readonly address: string;
  readonly #base: BasePort;
  readonly #leave: () => void;
  readonly #queue = new AcceptQueue();
  #settingUp = 0;

  constructor(base: BasePort, name: string, leave: () => void) {
    this.address = name;
    this.#base = base;
    this.#leave = leave;
    base.addEventListener("message", this.#onMessage);
    base.start?.();
    this.#say({ postern: "ring-listening", name });
  }

  accept(): Promise<Connection | null> {
    return this.#queue.accept();
  }

  close(): void {
    if (this.#queue.isClosed) return;
    this.#queue.close();
    this.#base.removeEventListener("message", this.#onMessage);
    this.#leave();
  }

  readonly #onMessage = ({ data }: MessageEvent): void => {
    const message = ringMessage(data);
    if (message === null || !("name" in message) || message.name !== this.address) return;
    if (message.postern === "ring-ask") {
      this.#say({ postern: this.#isFull() ? "ring-no" : "ring-yes", id: message.id });
    }
    if (message.postern === "ring-open") void this.#open(message);
  };

  async #open({ id, agent, memory }: RingMessage & { readonly postern: "ring-open" }): Promise<void> {
    const ringBytes = ringBytesOf(memory);
    // Who opens without asking is refused here.
    if (ringBytes === null || this.#isFull()) return this.#say({ postern: "ring-no", id });
    this.#settingUp++;
    const lock = await joinAgentLock();
    this.#settingUp--;
    if (this.#queue.isClosed) {
      lock.leave();
      return this.#say({ postern: "ring-no", id });
    }
    const [incoming, outgoing] = ringsIn(memory, 0, ringBytes);
    const link = new SharedLink({ incoming, outgoing, lock, otherAgent: agent });
    const name = { transport: WORKER_RING, remoteAddress: null, localAddress: this.address };
    const connection = new RingConnection(name, incoming, outgoing, link);
    this.#say({ postern: "ring-up", id, agent: lock.agent });
    this.#queue.add(connection);
  }

  /** Counts those still being set up as well. */
  #isFull(): boolean {
    return this.#queue.length + this.#settingUp >= MAX_WAITING_CONNECTIONS;
  }

  #say(message: RingMessage): void {
    this.#base.postMessage(message, []);
  }
}
