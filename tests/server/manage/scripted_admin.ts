/** An administrator's program as a test scripts it. */
import assert from "node:assert/strict";
import { verifyHead } from "../../../src/protocol/manage/audit_head.ts";
import { controlPeer } from "../../../src/protocol/manage/control_flow.ts";
import type {
  Pins,
  Prepared,
  serverForAdmin,
  SignedHead,
} from "../../../src/protocol/manage/control_contract.ts";
import type { FlowConnection } from "../../../src/protocol/manage/flow_connection.ts";
import type { DialledLink } from "../../../src/protocol/manage/link_handshake.ts";
import {
  decodeAnswerForAdmin,
  decodeOpen,
  type OpenFields,
  signOpen,
  verifyAnswer,
} from "../../../src/protocol/manage/session_open.ts";
import type { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import type { Peer } from "../../../src/protocol/rpc/peer.ts";
import { systemRandomBytes, systemTimers } from "../../../src/protocol/rpc/timers.ts";
import type { ServerGround } from "./server_ground.ts";

/** A session that is open. */
export interface OpenedByAdmin {
  readonly session: string;
  readonly flow: FlowConnection;
  readonly head: SignedHead;
}

export class ScriptedAdmin {
  readonly key: SigningKey;
  readonly dialled: DialledLink;
  readonly peer: Peer<typeof serverForAdmin>;
  readonly heads: SignedHead[] = [];
  readonly pins: Pins[] = [];
  readonly #serverKey: Uint8Array;

  private constructor(key: SigningKey, dialled: DialledLink, serverKey: Uint8Array) {
    this.key = key;
    this.dialled = dialled;
    this.#serverKey = serverKey;
    this.peer = controlPeer(dialled.control, {
      role: "dialler",
      side: "administrator",
      timers: systemTimers,
      handlers: {
        ended: (head) => {
          this.heads.push(head);
          return null;
        },
        pin: (pins) => {
          this.pins.push(pins);
          return null;
        },
      },
    });
  }

  static async start(
    ground: Pick<ServerGround, "dial" | "serverKey">,
    key: SigningKey,
  ): Promise<ScriptedAdmin> {
    const dialled = await ground.dial({ key, role: "administrator" });
    return new ScriptedAdmin(key, dialled, ground.serverKey);
  }

  /** An open for a host, signed. */
  async sign(
    prepared: Prepared,
    fields: Partial<OpenFields> = {},
    key = this.key,
  ): Promise<Uint8Array<ArrayBuffer>> {
    return await signOpen({
      action: "shell",
      outlivesLink: false,
      session: systemRandomBytes(8).toHex(),
      ...prepared,
      expiresMs: 30_000,
      ephemeral: systemRandomBytes(32),
      targets: [],
      ...fields,
    }, key);
  }

  /** Opens a session on a host by its name. */
  async open(host: string, fields: Partial<OpenFields> = {}): Promise<OpenedByAdmin> {
    return await this.openWith(await this.sign(await this.peer.client.prepare(host), fields));
  }

  /** Sends an open as it is. */
  async openWith(bytes: Uint8Array): Promise<OpenedByAdmin> {
    const { connection: flow, parameters } = await this.dialled.link.open("session", bytes);
    const { answer, head } = decodeAnswerForAdmin(parameters);
    const open = decodeOpen(bytes);
    await verifyAnswer(open, answer);
    assert.ok(await verifyHead(head, this.#serverKey));
    return { session: open.session, flow, head };
  }

  close(): void {
    this.dialled.link.close("cancelled", "the test is over");
  }
}
