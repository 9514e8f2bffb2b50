/** The listening end of a message port; the dialogue stands in message_port.ts. */
import { AcceptQueue, MAX_WAITING_CONNECTIONS } from "./accept_queue.ts";
import { ListenedNames } from "./listened_names.ts";
import {
  type BasePort,
  closePort,
  connectionOnPort,
  type OpenMessage,
  type PortMessage,
  portMessage,
} from "./message_port_connection.ts";
import { joinThread } from "./message_port_watch.ts";
import type { AgentLock } from "./ring/agent_lock.ts";
import type { Connection, Listener } from "./transport.ts";

const names = new ListenedNames();

/**
 * Listens.
 *
 * @throws {TransportError} if somebody listens on that name of the port already
 */
export async function listenOnPort(base: BasePort, name: string): Promise<Listener> {
  const leave = names.take(base, name, "of the message port");
  try {
    return new PortListener(base, name, await joinThread(), leave);
  } catch (error) {
    leave();
    throw error;
  }
}

class PortListener implements Listener {
  readonly address: string;
  readonly #base: BasePort;
  readonly #lock: AgentLock | null;
  readonly #leave: () => void;
  readonly #queue = new AcceptQueue();

  constructor(base: BasePort, name: string, lock: AgentLock | null, leave: () => void) {
    this.address = name;
    this.#base = base;
    this.#lock = lock;
    this.#leave = leave;
    base.addEventListener("message", this.#onMessage);
    base.start?.();
    this.#say({ postern: "listening", name });
  }

  accept(): Promise<Connection | null> {
    return this.#queue.accept();
  }

  close(): void {
    if (this.#queue.isClosed) return;
    this.#queue.close();
    this.#base.removeEventListener("message", this.#onMessage);
    this.#leave();
    this.#lock?.leave();
  }

  readonly #onMessage = (event: MessageEvent): void => {
    const message = portMessage(event.data);
    if (message?.postern === "ask" && message.name === this.address) {
      this.#say({ postern: this.#queue.length < MAX_WAITING_CONNECTIONS ? "yes" : "no", id: message.id });
    }
    const port = event.ports[0];
    if (message?.postern !== "open" || message.name !== this.address || port === undefined) return;
    // Who opens without asking, or many at once after one question, is refused here.
    if (this.#queue.length >= MAX_WAITING_CONNECTIONS) return closePort(port);
    port.postMessage({ postern: "opened", agent: this.#lock?.agent ?? null } satisfies OpenMessage);
    this.#queue.add(connectionOnPort(port, this.address, message.agent));
  };

  #say(message: PortMessage): void {
    this.#base.postMessage(message, []);
  }
}
