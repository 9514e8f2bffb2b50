/**
 * One link's control flow, from its beginning to its end:
 *
 *   register -> what runs here; ends what the server does not want any more
 *   then every row of an ended session, one after the other, as long as the link stands
 *   from the server at any time: ping, challenge, end, pin
 */
import type { EndedSession, Pins, SignedHead } from "../../protocol/manage/control_contract.ts";
import { controlPeer } from "../../protocol/manage/control_flow.ts";
import type { hostForServer, serverForHost } from "../../protocol/manage/control_contract.ts";
import type { DialledLink } from "../../protocol/manage/link_handshake.ts";
import { ResetError } from "../../protocol/manage/reset_code.ts";
import type { Handlers } from "../../protocol/rpc/contract.ts";
import { RpcError } from "../../protocol/rpc/errors.ts";
import type { Peer } from "../../protocol/rpc/peer.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import { describeError } from "../../system/failure.ts";
import { type Log, LogThrottle } from "../../system/log.ts";
import type { Challenges } from "./open_check.ts";
import type { EndedSpool } from "./ended_spool.ts";
import type { SessionDesk } from "./session_desk.ts";

/** Pause before a row that the server could not take is told again. */
const ROW_AGAIN_MS = 5_000;
const REPEATED_LOG_MS = 10 * 60_000;

/** What the service works with, over all links. */
export interface ControlGround {
  /** Of Postern. */
  readonly version: string;
  /** Such as "linux x86_64". */
  readonly system: string;
  readonly desk: SessionDesk;
  readonly spool: EndedSpool;
  /** Takes a signed head of the audit. */
  readonly onHead: (head: SignedHead) => Promise<void>;
  /** Generation of the pins that are stored. */
  readonly pinsGeneration: () => number;
  /** Stores pins, durable when it resolves; whether they are others than before. */
  readonly storePins: (pins: Pins) => Promise<boolean>;
  readonly timers: Timers;
  readonly log: Log;
}

/** The service of one link. */
export class ControlService {
  readonly #ground: ControlGround;
  readonly #link: DialledLink;
  readonly #challenges: Challenges;
  readonly #peer: Peer<typeof serverForHost>;
  readonly #throttle = new LogThrottle({ perKey: { burst: 1, perMs: REPEATED_LOG_MS }, maxKeys: 1 });
  #isOver = false;
  #wake: () => void = () => {};
  #toldAll: () => void = () => {};

  /** Begins to serve. */
  constructor(ground: ControlGround, link: DialledLink, challenges: Challenges) {
    this.#ground = ground;
    this.#link = link;
    this.#challenges = challenges;
    this.#peer = controlPeer(link.control, {
      role: "dialler",
      side: "host",
      handlers: this.#handlers(),
      timers: ground.timers,
      onEvent: ({ method, error }) =>
        ground.log.error("control call failed", { method, error: describeError(error) }),
    });
  }

  /** Serves until the link is gone; says why it went. Never rejects. */
  async run(): Promise<ResetError> {
    const { link } = this.#link;
    // A link whose control flow is gone is of no use.
    void this.#peer.closed.then((error) =>
      link.close("malformed", `the control flow is over: ${error.message}`)
    );
    const over = link.closed.then((ending) => {
      this.#isOver = true;
      this.#wake();
      this.#toldAll();
      return ending;
    });
    await this.#register();
    await this.#tellRows();
    return await over;
  }

  /** A row has come. */
  wake(): void {
    this.#wake();
  }

  /** Resolves when no row waits any more, or the link is gone. */
  told(): Promise<void> {
    if (this.#isOver || this.#ground.spool.pending().length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#toldAll = resolve;
      this.#wake();
    });
  }

  #handlers(): Handlers<typeof hostForServer, typeof serverForHost> {
    const { desk } = this.#ground;
    return {
      ping: () => null,
      challenge: () => this.#challenges.give(),
      end: ({ sessions, ending }) => {
        desk.end(sessions, ending);
        return null;
      },
      pin: async (pins) => {
        await this.#pin(pins);
        return null;
      },
    };
  }

  async #pin(pins: Pins): Promise<void> {
    const { pinsGeneration, storePins, log } = this.#ground;
    if (await storePins(pins)) {
      log.info("CA certificates of the server stored", {
        generation: pins.generation,
        count: pins.caCertificates.length,
      });
    }
    // Not waited for: the server waits for the answer to `pin`.
    this.#peer.client.pinned(pinsGeneration()).catch(() => {});
  }

  async #register(): Promise<void> {
    const { version, system, desk, pinsGeneration, log } = this.#ground;
    try {
      const { end } = await this.#peer.client.register({
        version,
        system,
        sessions: desk.sessions(),
        pinsGeneration: pinsGeneration(),
      });
      // Not before: only now the server leads anybody here.
      log.info("linked to the server", { name: this.#link.name });
      desk.end(end, "revoked");
    } catch (error) {
      if (!this.#isOver) log.warn("the server did not register this host", { error: describeError(error) });
      // There is nothing to be served without; the keeper tries again.
      this.#link.link.close("internal", "register failed");
      await this.#link.link.closed;
    }
  }

  /** As long as the link stands; every row that waits, the ones of former links first. */
  async #tellRows(): Promise<void> {
    while (!this.#isOver) {
      const woken = new Promise<void>((resolve) => this.#wake = resolve);
      const isDone = await this.#tellPending();
      if (this.#isOver) return;
      if (isDone && this.#ground.spool.pending().length === 0) this.#toldAll();
      const callOff = isDone ? (): void => {} : this.#ground.timers.after(ROW_AGAIN_MS, this.#wake);
      await woken;
      callOff();
    }
  }

  /** Whether the server has all of them. */
  async #tellPending(): Promise<boolean> {
    let isDone = true;
    for (const row of this.#ground.spool.pending()) {
      if (this.#isOver) return false;
      if (!await this.#tell(row)) isDone = false;
    }
    return isDone;
  }

  async #tell(row: EndedSession): Promise<boolean> {
    const { spool, onHead, log, timers } = this.#ground;
    try {
      const head = await this.#peer.client.ended(row);
      await onHead(head);
      await spool.acknowledged(row.session);
      return true;
    } catch (error) {
      if (error instanceof RpcError && error.code === "disconnected") return false;
      const { log: isNew } = this.#throttle.take("row", timers.monotonicMs());
      if (isNew) {
        log.warn("the server did not take the end of a session, it is told again", {
          session: row.session,
          error: describeError(error),
        });
      }
      return false;
    }
  }
}
