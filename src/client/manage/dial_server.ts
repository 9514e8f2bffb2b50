/**
 * Reaches the management server: all of its addresses side by side, and the first one where the server has proven its
 * key is taken. An address that answers with somebody else's certificate or key only loses the race.
 */
import { dialLink } from "../../protocol/manage/link_handshake.ts";
import { type ResetCode, ResetError } from "../../protocol/manage/reset_code.ts";
import type { SigningKey } from "../../protocol/manage/signing_key.ts";
import { dialPinned } from "../../protocol/transport/pinned_tls.ts";
import { TransportError } from "../../protocol/transport/transport.ts";
import type { RandomBytes, Timers } from "../../protocol/rpc/timers.ts";
import { describeError, Failure } from "../../system/failure.ts";
import { waitFor } from "./waiting.ts";

/** All addresses together have this long. */
export const DIAL_TIMEOUT_MS = 10_000;
const MS_PER_S = 1_000;

/** Whom to reach, and as whom. */
export interface ServerDial {
  readonly kind: "link" | "join";
  readonly addresses: readonly string[];
  /** PEM. */
  readonly caCertificates: readonly string[];
  /** 32 bytes. */
  readonly serverKey: Uint8Array<ArrayBuffer>;
  /** Ours; the addresses are dialled while it is being read. */
  readonly key: Promise<SigningKey>;
  /** Of the token, 32 bytes; of a join only. */
  readonly secret?: Uint8Array<ArrayBuffer>;
  readonly timers: Timers;
  readonly random: RandomBytes;
  readonly onNotice: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
  /** @default DIAL_TIMEOUT_MS */
  readonly timeoutMs?: number;
}

/** A proven link. */
export type Dialled = Awaited<ReturnType<typeof dialLink>>;

/**
 * Makes a link.
 *
 * @throws {ResetError} what the proven server says, such as "revoked"; {Failure} naming each address and why not there;
 * the signal's reason
 */
export async function dialServer(dial: ServerDial): Promise<Dialled> {
  const { addresses, timers, onNotice, signal, timeoutMs = DIAL_TIMEOUT_MS } = dial;
  // Whoever waits in vain for an address learns of the key's failure from the address; nobody else asks.
  dial.key.catch(() => {});
  const what = `the management server (${addresses.join(", ")})`;
  const reasons = new Map<string, unknown>();
  const failure = (): unknown => nobody(addresses, reasons, `no answer within ${timeoutMs / MS_PER_S} s`);
  return await waitFor(
    { what, timeoutMs, timers, onNotice, signal, failure },
    (given) => race(dial, given, reasons),
  );
}

/** @param reasons takes why it failed, by address, while others are still tried */
async function race(dial: ServerDial, given: AbortSignal, reasons: Map<string, unknown>): Promise<Dialled> {
  const { addresses } = dial;
  const over = new AbortController();
  const giveUp = (): void => over.abort(given.reason);
  given.addEventListener("abort", giveUp, { once: true });
  const final = Promise.withResolvers<never>();
  let winner: Dialled | null = null;
  const lanes = addresses.map(async (address) => {
    try {
      const dialled = await dialOne(dial, address, over.signal);
      // Two may be proven in the same turn.
      if (winner !== null || over.signal.aborted) {
        dialled.link.close("cancelled", "another address was faster");
      }
      return winner ??= dialled;
    } catch (error) {
      reasons.set(address, error);
      if (isFinal(error)) final.reject(error);
      throw error;
    }
  });
  try {
    return await Promise.race([Promise.any(lanes), final.promise]);
  } catch (error) {
    given.throwIfAborted();
    throw error instanceof AggregateError ? nobody(addresses, reasons, "") : error;
  } finally {
    given.removeEventListener("abort", giveUp);
    over.abort(new Failure("another address of the management server was faster"));
  }
}

/** What the proven server says of this key is the same at every address; and without a key of ours nothing helps. */
const FINAL: ReadonlySet<ResetCode> = new Set([
  "revoked",
  "authentication",
  "token",
  "in_use",
  "refused_by_server",
]);

function isFinal(error: unknown): boolean {
  return error instanceof Failure ||
    (error instanceof ResetError && error.by === "there" && FINAL.has(error.code));
}

async function dialOne(dial: ServerDial, address: string, signal: AbortSignal): Promise<Dialled> {
  const { kind, caCertificates, serverKey, secret, timers, random } = dial;
  const { connection, certificate } = await dialPinned({ address, caCertificates, signal });
  try {
    return await dialLink(connection, {
      kind,
      role: "administrator",
      key: await dial.key,
      serverKey,
      serverCertificate: certificate,
      ...(secret === undefined ? {} : { secret }),
      timers,
      random,
      signal,
      // The server opens no flows to an administrator.
      onOpen: (flow) => flow.refuse("malformed", "an administrator takes no flows"),
    });
  } catch (error) {
    connection.close();
    throw error;
  }
}

/**
 * Nobody was reached: each address with its reason.
 *
 * @param pending the reason of those that have none yet
 */
function nobody(
  addresses: readonly string[],
  reasons: ReadonlyMap<string, unknown>,
  pending: string,
): unknown {
  const errors = [...reasons.values()];
  const told = errors.find((error) => error instanceof ResetError && error.by === "there");
  if (told !== undefined && errors.length === addresses.length) return told;
  const isForeign = errors.some((error) =>
    (error instanceof TransportError && error.code === "untrusted") ||
    (error instanceof ResetError && error.code === "authentication")
  );
  const each = addresses.map((address) =>
    reasons.has(address) ? describeAt(address, reasons.get(address)) : `${address}: ${pending}`
  );
  return new Failure(`cannot reach the management server: ${each.join("; ")}`, {
    hint: isForeign
      ? "somebody may stand in between; if the server was made anew, its operator has to invite you anew"
      : "look whether postern server manage runs there, and whether a firewall lets you through",
  });
}

function describeAt(address: string, error: unknown): string {
  const text = describeError(error).replace(`cannot connect to ${address}: `, "");
  return `${address}: ${text}`;
}
