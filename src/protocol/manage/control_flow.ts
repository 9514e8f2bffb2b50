/**
 * The control flow: the first flow of a link, opened by the dialler together with its proof.
 *
 *   dialler -> server  open control: | version u8 = 1 | SHA-256(hash of what the dialler serves, of what it calls) 32 |
 *   server  -> dialler opened: name by which the registry knows the dialler, or reset "version"
 *            both make a peer at once: the link has shown who they are, and limits are the same on both sides
 */
import { sha256 } from "@noble/hashes/sha2.js";
import type { Contract, Handlers, PeerInfo } from "../rpc/contract.ts";
import { implement } from "../rpc/implement.ts";
import { messagePackCodec } from "../rpc/messagepack_codec.ts";
import { Peer, type PeerEvent } from "../rpc/peer.ts";
import type { Timers } from "../rpc/timers.ts";
import type { Connection } from "../transport/transport.ts";
import { ascii, FieldReader, joinBytes, u8 } from "./byte_fields.ts";
import {
  adminForServer,
  CONTROL_LIMITS,
  hostForServer,
  serverForAdmin,
  serverForHost,
} from "./control_contract.ts";
import type { DiallerRole } from "./link_hello.ts";
import { isName, MAX_NAME_BYTES } from "./names.ts";
import { ResetError } from "./reset_code.ts";
import { isSameBytes } from "./signing_key.ts";

const CONTROL_VERSION = 1;
const HASH_BYTES = 32;
/** How much of a hash people are shown. */
const SHOWN_DIGITS = 8;

/** What is served and called at each end of a link, by who dialled it. */
const SIDES = {
  host: {
    dialler: { serves: hostForServer, calls: serverForHost },
    listener: { serves: serverForHost, calls: hostForServer },
  },
  administrator: {
    dialler: { serves: adminForServer, calls: serverForAdmin },
    listener: { serves: serverForAdmin, calls: adminForServer },
  },
} as const;

type Sides = typeof SIDES;
/** Which end of a link: "dialler" for host and administrator, "listener" for the server. */
export type ControlRole = "dialler" | "listener";
/** What an end serves. */
export type ControlServes<Role extends ControlRole, Side extends DiallerRole> = Sides[Side][Role]["serves"];
/** What an end calls. */
export type ControlCalls<Role extends ControlRole, Side extends DiallerRole> = Sides[Side][Role]["calls"];

/** What a peer of the control flow is made of. */
export interface ControlPeerOptions<Role extends ControlRole, Side extends DiallerRole> {
  /** Which end this is. */
  readonly role: Role;
  /** Who dialled. */
  readonly side: Side;
  /** What the other end may call; their `context.client` calls it back. */
  readonly handlers: Handlers<ControlServes<Role, Side>, ControlCalls<Role, Side>>;
  readonly timers: Timers;
  /** Called with what a program may want to log. */
  readonly onEvent?: ((event: PeerEvent) => void) | undefined;
}

/**
 * Makes the peer of a control flow, which owns the flow from now on.
 *
 * @throws {TypeError} if a handler is missing, or one is too many
 */
export function controlPeer<Role extends ControlRole, Side extends DiallerRole>(
  flow: Connection,
  { role, side, handlers, timers, onEvent }: ControlPeerOptions<Role, Side>,
): Peer<ControlCalls<Role, Side>> {
  const serves: ControlServes<Role, Side> = SIDES[side][role].serves;
  const calls: ControlCalls<Role, Side> = SIDES[side][role].calls;
  return new Peer({
    connection: flow,
    role,
    codec: messagePackCodec(),
    serves: implement(serves, handlers, calls),
    calls,
    peer: peerInfoOf(flow),
    limits: CONTROL_LIMITS,
    told: CONTROL_LIMITS,
    timers,
    onEvent,
  });
}

/** What handlers are told of the other end: who it is was shown by the link, not by a handshake of RPC. */
export function peerInfoOf(flow: Connection): PeerInfo {
  return {
    transport: flow.transport,
    remoteAddress: flow.remoteAddress,
    authenticated: "none",
    executablePath: null,
  };
}

/** Parameters of the open of a control flow: 33 bytes. */
export function encodeControlOpen(side: DiallerRole): Uint8Array<ArrayBuffer> {
  return joinBytes(u8(CONTROL_VERSION), controlHash(side));
}

/**
 * Lets an open through whose dialler has the same contracts as we.
 *
 * @throws {ResetError} "version" with what each of the two needs; "malformed"
 */
export function requireSameControl(parameters: Uint8Array, side: DiallerRole): void {
  const reader = new FieldReader(parameters, "the open of a control flow");
  const version = reader.u8();
  if (version !== CONTROL_VERSION) {
    throw differs(`this program speaks version ${version} of the control flow`, `${CONTROL_VERSION}`);
  }
  const theirs = reader.take(HASH_BYTES), ours = controlHash(side);
  reader.requireEnd();
  if (isSameBytes(theirs, ours)) return;
  throw differs(`this program has the calls ${shortHash(theirs)} of a ${side}`, shortHash(ours));
}

/** Parameters of the answer: the name by which the registry knows the dialler. */
export function encodeControlOpened(name: string): Uint8Array<ArrayBuffer> {
  if (!isName(name)) throw new TypeError("cannot answer a control flow: found a name that is none");
  return ascii(name);
}

/**
 * Reads the answer.
 *
 * @throws {ResetError} "malformed" if it is no name
 */
export function decodeControlOpened(parameters: Uint8Array): string {
  // A byte each, never UTF-8: whatever is no ASCII is no name.
  const name = parameters.length > MAX_NAME_BYTES ? "" : String.fromCharCode(...parameters);
  if (isName(name)) return name;
  throw new ResetError("malformed", "here", "cannot link: the server calls this program by what is no name");
}

function controlHash(side: DiallerRole): Uint8Array<ArrayBuffer> {
  const { serves, calls }: { readonly serves: Contract; readonly calls: Contract } = SIDES[side].dialler;
  return new Uint8Array(sha256(joinBytes(serves.hash, calls.hash)));
}

function differs(theirs: string, ours: string): ResetError {
  return new ResetError(
    "version",
    "here",
    `the server refuses: ${theirs}, it accepts ${ours}; update the older of the two`,
  );
}

function shortHash(hash: Uint8Array): string {
  return hash.toHex().slice(0, SHOWN_DIGITS);
}
