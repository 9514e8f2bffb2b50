/** Two sides that shake hands, and what became of each. */
import { call, contract, stream } from "../../../src/protocol/rpc/contract.ts";
import { CLOSE_REASON_NUMBERS, ConnectionError } from "../../../src/protocol/rpc/errors.ts";
import {
  type HandshakeInput,
  type HandshakeResult,
  shakeHands,
} from "../../../src/protocol/rpc/handshake.ts";
import { noHandshake } from "../../../src/protocol/rpc/handshake_policy.ts";
import type { Role } from "../../../src/protocol/rpc/hello.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/rpc/limits.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { FakeTimers } from "./fake_timers.ts";
import type { Tap } from "./tapped_connection.ts";

export const SECRET = "a secret of the tests, 32 bytes.";
export const math = contract({ add: call<{ a: number; b: number }, number>() });
export const clock = contract({ ticks: stream<null, number>() });

export type Overrides = Partial<Omit<HandshakeInput, "connection" | "role">>;

/** The dialler calls `math`, the listener serves it; no handshake but the hellos. */
export function sideOf(role: Role, connection: Connection, overrides: Overrides = {}): HandshakeInput {
  return {
    connection,
    role,
    policy: noHandshake(),
    service: role === "dialler" ? "" : "MATH",
    serves: role === "listener" ? math : null,
    calls: role === "dialler" ? math : null,
    codecId: "json",
    limits: DEFAULT_LIMITS,
    timers: new FakeTimers(),
    randomBytes: systemRandomBytes,
    ...overrides,
  };
}

/** What became of a side: its result, or the error and "reason by". */
export interface Outcome {
  readonly words: string;
  readonly result: HandshakeResult | null;
  readonly error: unknown;
}

export async function outcomeOf(input: HandshakeInput): Promise<Outcome> {
  try {
    return { words: "accepted", result: await shakeHands(input), error: null };
  } catch (error) {
    const words = error instanceof ConnectionError ? `${error.reason} ${error.by}` : String(error);
    return { words, result: null, error };
  }
}

/** Both sides at once. */
export async function bothOf(
  tap: Tap,
  dialler: Overrides = {},
  listener: Overrides = {},
): Promise<{ dialler: Outcome; listener: Outcome; words: { dialler: string; listener: string } }> {
  const [d, l] = await Promise.all([
    outcomeOf(sideOf("dialler", tap.dialler, dialler)),
    outcomeOf(sideOf("listener", tap.listener, listener)),
  ]);
  tap.dialler.close();
  tap.listener.close();
  return { dialler: d, listener: l, words: { dialler: d.words, listener: l.words } };
}

/** Reason in the `close` frame that bytes end with. */
export function refusalIn(bytes: Uint8Array): string | undefined {
  const CLOSE = 35, KIND_AT = 4, VALUE_AT = 12, HEADER = 16;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + HEADER <= bytes.length; at += 8) {
    const padded = Math.ceil(view.getUint32(at) / 8) * 8;
    if (view.getUint8(at + KIND_AT) === CLOSE && at + HEADER + padded === bytes.length) {
      const number = view.getUint32(at + VALUE_AT);
      return Object.entries(CLOSE_REASON_NUMBERS).find(([, each]) => each === number)?.[0];
    }
  }
  return undefined;
}
