import { FORWARD_MESSAGE_BYTES } from "../../protocol/knock/forward_message.ts";

/** Time in which a message must be complete, whatever its pace. */
export const MESSAGE_TIMEOUT_MS = 1000;

/** Why a connection gave no message. */
export type MessageRefusal = "short" | "long" | "slow";

/**
 * Reads one message of exactly 24 bytes and closes the connection. Decided at the end of the stream, or, since a peer
 * may keep the connection open, by what is there when the time is over; the 25th byte decides at once.
 */
export async function readMessage(
  conn: Deno.Conn,
  timeoutMs = MESSAGE_TIMEOUT_MS,
): Promise<Uint8Array | MessageRefusal> {
  const buffer = new Uint8Array(FORWARD_MESSAGE_BYTES + 1);
  let length = 0;
  let timedOut = false;
  // Over the whole message, not per read: a peer that sends a byte now and then must not hold its place.
  const limit = setTimeout(() => {
    timedOut = true;
    closeQuietly(conn);
  }, timeoutMs);
  try {
    while (length < buffer.length) {
      const read = await conn.read(buffer.subarray(length));
      if (read === null) break;
      length += read;
    }
  } catch {
    // Closed by the limit, or by the commander's end, or broken by the peer: what has arrived decides.
  } finally {
    clearTimeout(limit);
    closeQuietly(conn);
  }
  if (length > FORWARD_MESSAGE_BYTES) return "long";
  if (length < FORWARD_MESSAGE_BYTES) return timedOut ? "slow" : "short";
  return buffer.subarray(0, FORWARD_MESSAGE_BYTES);
}

/** Closes a connection that may be closed already. */
export function closeQuietly(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // Closed already.
  }
}
