/** A host as a test scripts it: it registers, gives challenges, and answers opens as it is told. */
import { controlPeer } from "../../../src/protocol/manage/control_flow.ts";
import type {
  EndOrder,
  HostSession,
  Pins,
  Registered,
  serverForHost,
} from "../../../src/protocol/manage/control_contract.ts";
import type { FlowConnection } from "../../../src/protocol/manage/flow_connection.ts";
import type { DialledLink } from "../../../src/protocol/manage/link_handshake.ts";
import type { ResetCode } from "../../../src/protocol/manage/reset_code.ts";
import type { IncomingFlow } from "../../../src/protocol/manage/running_link.ts";
import {
  answerOpen,
  decodeOpenForHost,
  type OpenForHost,
} from "../../../src/protocol/manage/session_open.ts";
import type { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import type { Peer } from "../../../src/protocol/rpc/peer.ts";
import { systemRandomBytes, systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { until } from "../../e2e/until.ts";
import type { ServerGround } from "./server_ground.ts";

/** How a host behaves. */
export interface HostScript {
  /** What outlived the last link. */
  readonly sessions?: readonly HostSession[];
  /** Refuses every open with this. */
  readonly refuses?: readonly [ResetCode, string];
  /** Answers neither pings nor anything else. */
  readonly isDeaf?: boolean;
  /** Leaves opens without an answer. */
  readonly answersNoOpen?: boolean;
  readonly pinsGeneration?: number;
  /** Opens are answered when this has settled. */
  readonly beforeAnswer?: Promise<void>;
  /** Answers opens with this. */
  readonly answers?: Uint8Array<ArrayBuffer>;
}

/** A session that the host has taken. */
export interface TakenSession {
  readonly asked: OpenForHost;
  readonly flow: FlowConnection;
}

export class ScriptedHost {
  readonly key: SigningKey;
  readonly dialled: DialledLink;
  readonly peer: Peer<typeof serverForHost>;
  /** What the server said at its registration. */
  registered: Registered = { end: [] };
  readonly orders: EndOrder[] = [];
  readonly pins: Pins[] = [];
  readonly taken: TakenSession[] = [];

  private constructor(key: SigningKey, dialled: DialledLink, script: HostScript) {
    this.key = key;
    this.dialled = dialled;
    this.peer = controlPeer(dialled.control, {
      role: "dialler",
      side: "host",
      timers: systemTimers,
      handlers: {
        ping: () => script.isDeaf === true ? never() : null,
        challenge: () => script.isDeaf === true ? never() : systemRandomBytes(16),
        end: (order) => {
          this.orders.push(order);
          return null;
        },
        pin: (pins) => {
          this.pins.push(pins);
          return null;
        },
      },
    });
  }

  /** Dials and registers. */
  static async start(
    ground: Pick<ServerGround, "dial">,
    key: SigningKey,
    script: HostScript = {},
  ): Promise<ScriptedHost> {
    const host: { here: ScriptedHost | null } = { here: null };
    const dialled = await ground.dial({
      key,
      role: "host",
      onOpen: (flow) => void host.here?.take(flow, script),
    });
    host.here = new ScriptedHost(key, dialled, script);
    host.here.registered = await host.here.peer.client.register({
      version: "0.1.0",
      system: "linux x86_64",
      sessions: script.sessions ?? [],
      pinsGeneration: script.pinsGeneration ?? 1,
    });
    return host.here;
  }

  /** Takes a session, or refuses it. */
  async take(
    flow: IncomingFlow,
    { refuses, answersNoOpen, answers, beforeAnswer }: HostScript,
  ): Promise<void> {
    if (answersNoOpen === true) return;
    if (refuses !== undefined) return flow.refuse(...refuses);
    await beforeAnswer;
    const asked = decodeOpenForHost(flow.parameters);
    const answer = answers ?? await answerOpen(asked.open.bytes, systemRandomBytes(32), this.key);
    this.taken.push({ asked, flow: flow.accept(answer) });
  }

  /** The newest session, once there are that many. */
  async session(number = 1): Promise<TakenSession> {
    return await until(`session ${number}`, () => this.taken[number - 1]);
  }

  close(): void {
    this.dialled.link.close("cancelled", "the test is over");
  }
}

function never(): Promise<never> {
  return new Promise(() => {});
}
