/**
 * Connections from the host to where it reaches:
 *
 * ```
 * opened -> connect(host, port), any number of times -> allowed? -> dialled -> empty item -> bytes both ways
 *             an empty item, or the end of the items, ends one direction; both ended: the call ends
 * ```
 *
 * What is read of a connection is sent before it is read again, so a caller that takes nothing makes the target wait.
 */
import type { SessionEnding } from "../../../protocol/manage/control_contract.ts";
import { shownText } from "../../../protocol/manage/shown_text.ts";
import type { ConnectStart } from "../../../protocol/manage/session_contract.ts";
import type { CallContext } from "../../../protocol/rpc/contract.ts";
import { ApplicationError } from "../../../protocol/rpc/errors.ts";
import { ForwardedConnection } from "./forwarded_connection.ts";
import {
  endOnSignal,
  handlersOf,
  type HostedSession,
  type SessionGround,
  type SessionHandlers,
  type SessionResult,
} from "./hosted_session.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const CONNECT_WITHIN_MS = 10_000;

/** Begins a session whose connections lead to the declared targets. */
export function hostForward(ground: SessionGround): HostedSession {
  return new ForwardSession(ground);
}

class ForwardSession implements HostedSession {
  readonly action = "forward";
  readonly isDetached = false;
  readonly handlers: SessionHandlers;
  readonly ended: Promise<SessionResult>;
  readonly #ground: SessionGround;
  readonly #over = new AbortController();
  readonly #open = new Set<ForwardedConnection>();
  readonly #stopListening: () => void;
  #resolveEnded: (result: SessionResult) => void = () => {};
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(ground: SessionGround) {
    this.#ground = ground;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.handlers = handlersOf(ground, "forward", { connect: (...call) => this.#connect(...call) });
    this.#stopListening = endOnSignal(ground.signal, (ending) => this.end(ending));
  }

  viewerLost(): void {
    this.end("lost");
  }

  attach(): SessionHandlers {
    return handlersOf(this.#ground, "forward", {});
  }

  end(ending: SessionEnding): void {
    if (!this.#over.signal.aborted) {
      this.#stopListening();
      this.#over.abort();
      for (const connection of this.#open) {
        connection.close(new ApplicationError("cancelled", `${this.#ground.hostName} ended the session`));
      }
      const counts = { bytesIn: this.#bytesIn, bytesOut: this.#bytesOut };
      this.#resolveEnded({ ending, exitCode: null, ...counts });
    }
  }

  async #connect(
    start: ConnectStart,
    items: AsyncIterableIterator<Bytes>,
    { signal }: CallContext,
  ): Promise<ForwardedConnection> {
    const over = this.#over.signal;
    const refusal = over.aborted
      ? `${this.#ground.hostName} refuses: a connection in a session that is over`
      : this.#ground.mayConnect(start.host, start.port);
    if (refusal !== null) {
      throw new ApplicationError("refused_by_host", refusal);
    }
    const socket = await this.#dial(start, AbortSignal.any([over, signal]));
    if (over.aborted || signal.aborted) {
      socket.close();
      throw new ApplicationError("cancelled", `${this.#ground.hostName} ended the session`);
    }
    const connection = new ForwardedConnection(socket, items, {
      cameIn: (bytes) => this.#bytesIn += bytes,
      wentOut: (bytes) => this.#bytesOut += bytes,
      closed: () => this.#open.delete(connection),
    });
    this.#open.add(connection);
    return connection;
  }

  async #dial({ host, port }: ConnectStart, signal: AbortSignal): Promise<Deno.TcpConn> {
    const tooLate = new AbortController();
    const callOff = this.#ground.timers.after(CONNECT_WITHIN_MS, () => tooLate.abort());
    try {
      const connection = await Deno.connect({
        hostname: host,
        port,
        signal: AbortSignal.any([signal, tooLate.signal]),
      });
      connection.setNoDelay();
      return connection;
    } catch (error) {
      const reason = tooLate.signal.aborted
        ? `no answer within ${CONNECT_WITHIN_MS / 1000} s`
        : reasonOf(error);
      const text = `${this.#ground.hostName} cannot reach ${host} port ${port}: ${reason}`;
      throw new ApplicationError("unreachable", text, { cause: error });
    } finally {
      callOff();
    }
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ConnectionRefused: "connection refused",
  TimedOut: "no answer",
  NetworkUnreachable: "there is no way to its network",
  HostUnreachable: "there is no way to it",
  NotCapable: "the agent has no permission for it",
};

function reasonOf(error: unknown): string {
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  return REASONS[name] ?? shownText(message.replace(/ \(os error [0-9]+\).*$/, ""));
}
