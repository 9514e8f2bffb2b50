/** Calls a program as fast as it answers, with a fixed number of calls in flight. */
import type { Body, Caller } from "./subject.ts";

export interface Load {
  readonly inFlight: number;
  readonly bodyBytes: number;
  readonly forMs: number;
}

/** What one load gave. */
export interface Measured {
  readonly callsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

const US_PER_MS = 1000, MS_PER_SECOND = 1000;
const PATTERN = 251;

/**
 * Runs the load.
 *
 * @throws {Error} if what comes back is not what was sent
 */
export async function runLoad(
  { echo, giveBack }: Caller,
  body: Body,
  { inFlight, forMs }: Load,
): Promise<Measured> {
  if (!isSame(await echo(body), body)) throw new Error("what came back is not what was sent");
  const latenciesMs: number[] = [];
  const startMs = performance.now();
  const endMs = startMs + forMs;
  async function lane(): Promise<void> {
    let sentMs = performance.now();
    while (sentMs < endMs) {
      const back = await echo(body);
      giveBack?.(back);
      const nowMs = performance.now();
      latenciesMs.push(nowMs - sentMs);
      sentMs = nowMs;
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane));
  const seconds = (performance.now() - startMs) / MS_PER_SECOND;
  const sorted = Float64Array.from(latenciesMs).sort();
  const at = (share: number): number => (sorted[Math.ceil(share * sorted.length) - 1] ?? 0) * US_PER_MS;
  return { callsPerSecond: sorted.length / seconds, p50Us: at(0.5), p99Us: at(0.99) };
}

/** Text for a "text" connection, else bytes. */
export function makeBody(payload: "text" | "bytes", bytes: number): Body {
  if (payload === "text") return "0123456789abcdef".repeat(Math.ceil(bytes / 16)).slice(0, bytes);
  return Uint8Array.from({ length: bytes }, (_, at) => at % PATTERN);
}

function isSame(a: Body, b: Body): boolean {
  if (typeof a === "string" || typeof b === "string") return a === b;
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
