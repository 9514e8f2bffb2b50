/**
 * A session inside its flow: records with the keys that administrator and host agreed on, see session_keys.ts, and in
 * them the calls of session_contract.ts. The server between the two carries bytes that it can neither read nor change.
 */
import type { Contract, Handlers } from "../rpc/contract.ts";
import { implement } from "../rpc/implement.ts";
import { messagePackOfCopied } from "../rpc/messagepack_codec.ts";
import { Peer, type PeerEvent } from "../rpc/peer.ts";
import type { Timers } from "../rpc/timers.ts";
import type { ShortRecordCipher } from "../record/record.ts";
import { SealedConnection } from "../record/sealed_connection.ts";
import type { Connection } from "../transport/transport.ts";
import { peerInfoOf } from "./control_flow.ts";
import { hostForAdmin, SESSION_LIMITS } from "./session_contract.ts";
import type { SessionKeys } from "./session_keys.ts";

/** Of a record: sealing one costs a turn to another thread, whether it is short or long. */
const RECORD_BYTES = 256 * 1024;

/** What a peer of a session is made of, at the host: it serves. */
export interface HostSessionOptions {
  readonly side: "host";
  readonly handlers: Handlers<typeof hostForAdmin>;
  readonly timers: Timers;
  /** See `SealedConnection`: keystrokes are short records. */
  readonly cipher?: ShortRecordCipher | undefined;
  /** Called with what a program may want to log. */
  readonly onEvent?: ((event: PeerEvent) => void) | undefined;
}

/** What a peer of a session is made of, with the administrator: it calls. */
export interface AdministratorSessionOptions {
  readonly side: "administrator";
  readonly timers: Timers;
  /** See `SealedConnection`: keystrokes are short records. */
  readonly cipher?: ShortRecordCipher | undefined;
}

/** Makes the administrator's peer, which owns the flow from now on. */
export function sessionPeer(
  flow: Connection,
  keys: SessionKeys,
  options: AdministratorSessionOptions,
): Peer<typeof hostForAdmin>;
/** Makes the host's peer, which owns the flow from now on. */
export function sessionPeer(flow: Connection, keys: SessionKeys, options: HostSessionOptions): Peer;
/**
 * Makes the peer of one side.
 *
 * @param keys of this session, used for nothing before
 * @throws {TypeError} if a handler is missing, or one is too many
 */
export function sessionPeer(
  flow: Connection,
  keys: SessionKeys,
  options: AdministratorSessionOptions | HostSessionOptions,
): Peer<Contract> {
  const { side, timers } = options, isHost = side === "host";
  const [sending, receiving] = isHost ? [keys.host, keys.administrator] : [keys.administrator, keys.host];
  return new Peer<Contract>({
    connection: new SealedConnection(flow, { sending, receiving }, options.cipher),
    role: isHost ? "listener" : "dialler",
    codec: messagePackOfCopied,
    serves: isHost ? implement(hostForAdmin, options.handlers) : null,
    calls: isHost ? null : hostForAdmin,
    peer: peerInfoOf(flow),
    limits: SESSION_LIMITS,
    told: SESSION_LIMITS,
    timers,
    blockBytes: RECORD_BYTES,
    onEvent: isHost ? options.onEvent : undefined,
  });
}
