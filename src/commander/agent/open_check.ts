/**
 * Whether an open is what an administrator has just written for this host and this link. What it asks for is another
 * question, see host_policy.ts.
 *
 *   host's key ours? -> nonce of this link? -> challenge ours, unused, in time? -> signed by the key in it?
 *
 * A challenge is 16 random bytes, good for one open within its time by the host's own monotonic clock. So a recorded open
 * is never good again, and no wall clock matters.
 */
import { CHALLENGE_LIFE_MS } from "../../protocol/manage/control_contract.ts";
import { type ResetCode, ResetError } from "../../protocol/manage/reset_code.ts";
import { CHALLENGE_BYTES, type SessionOpen, verifyOpen } from "../../protocol/manage/session_open.ts";
import { isSameBytes } from "../../protocol/manage/signing_key.ts";
import type { RandomBytes, Timers } from "../../protocol/rpc/timers.ts";
import { refusalOf } from "./host_policy.ts";

/** What an open must fit, of the link on which it comes. */
export interface LinkGround {
  /** 32 bytes. */
  readonly linkNonce: Uint8Array;
  readonly challenges: Challenges;
}

/** The same, and of the host. */
export interface OpenGround extends LinkGround {
  readonly hostName: string;
  /** The host's public one, 32 bytes. */
  readonly key: Uint8Array;
}

/**
 * Lets a good open through, once.
 *
 * @throws {ResetError} "authentication"; "expired" for a challenge that was ours
 */
export async function requireGoodOpen(open: SessionOpen, ground: OpenGround): Promise<void> {
  const { hostName, key, linkNonce, challenges } = ground;
  const refuse = (code: ResetCode, found: string): never => {
    throw openRefusal(hostName, code, `this open ${found}`);
  };
  if (!isSameBytes(open.hostKey, key)) refuse("authentication", "is for a host with another key");
  if (!isSameBytes(open.linkNonce, linkNonce)) refuse("authentication", "is for another link of this host");
  const fault = challenges.take(open.challenge, open.expiresMs);
  if (fault === "late") refuse("expired", "has come too late, try again");
  if (fault !== null) refuse("authentication", "was used before, or its challenge is not of this link");
  if (!await verifyOpen(open)) refuse("authentication", "is not signed by its administrator");
}

/** A refusal that names the host. */
export function openRefusal(hostName: string, code: ResetCode, refusal: string): ResetError {
  return new ResetError(code, "here", refusalOf(hostName, refusal));
}

/** Challenges that may be out at once; one more takes the place of the oldest, which only the server can bring about. */
export const MAX_CHALLENGES = 1024;

/** Why a challenge is not taken. */
export type ChallengeFault = "unknown" | "late";

/** Those of one link. */
export class Challenges {
  readonly #timers: Pick<Timers, "monotonicMs">;
  readonly #random: RandomBytes;
  /** When each was given, the oldest first. */
  readonly #given = new Map<string, number>();

  constructor(timers: Pick<Timers, "monotonicMs">, random: RandomBytes) {
    this.#timers = timers;
    this.#random = random;
  }

  /** Gives a fresh one. */
  give(): Uint8Array<ArrayBuffer> {
    const nowMs = this.#timers.monotonicMs();
    for (const [challenge, givenMs] of this.#given) {
      if (nowMs - givenMs < CHALLENGE_LIFE_MS && this.#given.size < MAX_CHALLENGES) break;
      this.#given.delete(challenge);
    }
    const challenge = this.#random(CHALLENGE_BYTES);
    this.#given.set(challenge.toHex(), nowMs);
    return challenge;
  }

  /** Takes one back, for good. @param expiresMs how long it was to be good, as the open says */
  take(challenge: Uint8Array, expiresMs: number): ChallengeFault | null {
    const key = challenge.toHex(), givenMs = this.#given.get(key);
    if (givenMs === undefined) return "unknown";
    this.#given.delete(key);
    const ageMs = this.#timers.monotonicMs() - givenMs;
    return ageMs <= Math.min(expiresMs, CHALLENGE_LIFE_MS) ? null : "late";
  }

  /** How many are out. */
  get count(): number {
    return this.#given.size;
  }
}
