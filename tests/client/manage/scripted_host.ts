/** A host with handlers that a test writes, reached without a server: two peers over a connection in memory. */
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import type { Handlers } from "../../../src/protocol/rpc/contract.ts";
import { implement } from "../../../src/protocol/rpc/implement.ts";
import { messagePackCodec } from "../../../src/protocol/rpc/messagepack_codec.ts";
import type { Peer } from "../../../src/protocol/rpc/peer.ts";
import { ApplicationError } from "../../../src/protocol/rpc/errors.ts";
import { systemTimers, type Timers } from "../../../src/protocol/rpc/timers.ts";
import { type ResetCode, ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { hostForAdmin, SESSION_LIMITS } from "../../../src/protocol/manage/session_contract.ts";
import type { ReachedSession, ReachWish } from "../../../src/client/manage/reattach.ts";
import { peerPair } from "../../protocol/rpc/peer_pair.ts";

type HostHandlers = Handlers<typeof hostForAdmin>;

/** How the last session was given back. */
export type GivenBack = "closed" | "detached" | "done";

const REFUSED: HostHandlers = {
  shell: () => Promise.reject(new ApplicationError("refused_by_host", "shell not allowed by its agent.toml")),
  exec: () => Promise.reject(new ApplicationError("refused_by_host", "exec not allowed by its agent.toml")),
  connect: () =>
    Promise.reject(new ApplicationError("refused_by_host", "forward not allowed by its agent.toml")),
};

/** The host. */
export class ScriptedHost implements AsyncDisposable {
  readonly #handlers: HostHandlers;
  readonly #timers: Timers;
  /** What it was asked for, in order. */
  readonly wishes: Pick<ReachWish, "attach" | "again">[] = [];
  /** What the next attempts to reach it fail with; a function decides when it is asked. */
  readonly failures: unknown[] = [];
  readonly givenBack: GivenBack[] = [];
  /** What became of each host's end: why its connection ended. */
  readonly hostEnds: Promise<string>[] = [];
  readonly #open: { readonly ends: readonly Connection[]; readonly peers: readonly Peer[] }[] = [];
  #lose: (why: ResetError | null) => void = () => {};

  constructor(handlers: Partial<HostHandlers>, timers: Timers = systemTimers) {
    this.#handlers = { ...REFUSED, ...handlers };
    this.#timers = timers;
  }

  /** As `reachHost` gives it. */
  readonly reach = async ({ attach, again, signal }: ReachWish): Promise<ReachedSession> => {
    this.wishes.push({ attach, again });
    await Promise.resolve();
    signal.throwIfAborted();
    if (this.failures.length > 0) {
      const failure = this.failures.shift();
      throw failure;
    }
    return this.#session(attach);
  };

  #session(attach: string | null): ReachedSession {
    const ends = memoryPair();
    const { dialler, listener } = peerPair({
      dialler: { calls: hostForAdmin, limits: SESSION_LIMITS },
      listener: { serves: implement(hostForAdmin, this.#handlers), limits: SESSION_LIMITS },
      codec: messagePackCodec(),
      timers: this.#timers,
      connections: ends,
    });
    this.#open.push({ ends, peers: [dialler, listener] });
    this.hostEnds.push(listener.closed.then(({ reason }) => reason));
    const lost = Promise.withResolvers<ResetError | null>();
    this.#lose = (why): void => {
      lost.resolve(why);
      for (const end of ends) end.close();
    };
    void dialler.closed.then(() => lost.resolve(null));
    return {
      host: "web1",
      client: dialler.client,
      session: attach ?? "3f9a0c41d2b7e655",
      ended: lost.promise,
      close: async (): Promise<void> => {
        this.givenBack.push("closed");
        dialler.close();
        await dialler.closed;
      },
      detach: async (): Promise<void> => {
        this.givenBack.push("detached");
        for (const end of ends) end.close();
        await dialler.closed;
      },
      done: (): Promise<void> => {
        this.givenBack.push("done");
        return Promise.resolve();
      },
    };
  }

  /** Cuts the link of the newest session. */
  lose(code: ResetCode | null = "lost", text = "the connection broke"): void {
    this.#lose(code === null ? null : new ResetError(code, "there", text));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { ends, peers } of this.#open) {
      for (const end of ends) end.close();
      await Promise.all(peers.map((peer) => peer.closed));
    }
  }
}
