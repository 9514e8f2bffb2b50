/**
 * One question to an NTP server (SNTPv4, RFC 4330 section 5 over the format of RFC 5905 section 7.3), without I/O.
 *
 * | bytes | field |
 * | --- | --- |
 * | 0 | leap indicator 2 bits, version 3 bits, mode 3 bits |
 * | 1 | stratum; 0 is a kiss-o'-death, its code in 12..16 |
 * | 24..32 | originate: the transmit timestamp of the question |
 * | 32..40 | receive: the server's time when the question came |
 * | 40..48 | transmit: the server's time when the answer left |
 */
export const NTP_BYTES = 48;
/** A timestamp: seconds since 1900, 32 bits, and their fraction, 32 bits. */
export const TIMESTAMP_BYTES = 8;

const VERSION = 4;
const MODE_CLIENT = 3;
const MODE_SERVER = 4;
const UNSYNCHRONISED = 3;
const MAX_STRATUM = 15;
const STRATUM_OFFSET = 1;
const CODE_OFFSET = 12;
const CODE_BYTES = 4;
const ORIGINATE_OFFSET = 24;
const RECEIVE_OFFSET = 32;
const TRANSMIT_OFFSET = 40;
/** From 1900-01-01 to 1970-01-01. */
const UNIX_EPOCH_SECONDS = 2_208_988_800;
const ERA_SECONDS = 2 ** 32;
const MS_PER_SECOND = 1000;

export type NtpAnswer =
  | { readonly kind: "time"; readonly receivedAtMs: number; readonly sentAtMs: number }
  /** Not an answer to our question: whoever sent it, the right one may still come. */
  | { readonly kind: "stray"; readonly why: string }
  /** The server answered, and gives no time. */
  | { readonly kind: "refusal"; readonly why: string };

/**
 * The question.
 *
 * @param nonce 8 random bytes in the place of our time: the server gives them back, so nobody who did not see the
 * question can answer it, and it tells nobody what our clock says
 */
export function encodeNtpRequest(nonce: Uint8Array): Uint8Array<ArrayBuffer> {
  if (nonce.length !== TIMESTAMP_BYTES) throw new RangeError(`a nonce has ${TIMESTAMP_BYTES} bytes`);
  const packet = new Uint8Array(NTP_BYTES);
  packet[0] = VERSION << 3 | MODE_CLIENT;
  packet.set(nonce, TRANSMIT_OFFSET);
  return packet;
}

/** Reads what came back. Everything that does not prove to be the answer to this question is a stray. */
export function readNtpAnswer(packet: Uint8Array, nonce: Uint8Array): NtpAnswer {
  if (packet.length < NTP_BYTES) return stray(`${packet.length} bytes, accepted are ${NTP_BYTES} and more`);
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const first = view.getUint8(0);
  const mode = first & 0b111;
  if (mode !== MODE_SERVER) return stray(`mode ${mode}, accepted is ${MODE_SERVER} (server)`);
  if (!nonce.every((byte, i) => byte === packet[ORIGINATE_OFFSET + i])) {
    return stray("an originate timestamp that is not the one we sent");
  }
  const version = first >> 3 & 0b111;
  if (version < 3 || version > VERSION) return stray(`version ${version}, accepted are 3 and ${VERSION}`);
  const stratum = view.getUint8(STRATUM_OFFSET);
  if (stratum === 0) {
    const code = String.fromCharCode(...packet.subarray(CODE_OFFSET, CODE_OFFSET + CODE_BYTES));
    return refusal(`it sent us away (kiss-o'-death ${/^[A-Z]{4}$/.test(code) ? code : "without a code"})`);
  }
  if (stratum > MAX_STRATUM) return refusal(`it has no time itself (stratum ${stratum})`);
  if (first >> 6 === UNSYNCHRONISED) return refusal("its own clock is not synchronised");
  const receivedAtMs = timestampMs(view, RECEIVE_OFFSET);
  const sentAtMs = timestampMs(view, TRANSMIT_OFFSET);
  if (receivedAtMs === null || sentAtMs === null) return refusal("it left its time out");
  if (sentAtMs < receivedAtMs) return refusal("its answer left before our question came");
  return { kind: "time", receivedAtMs, sentAtMs };
}

/** How far the server is ahead, as RFC 4330 section 5 has it, and the most by which that can be wrong. */
export function offsetOf(
  answer: { readonly receivedAtMs: number; readonly sentAtMs: number },
  askedAtMs: number,
  answeredAtMs: number,
): { readonly aheadMs: number; readonly uncertaintyMs: number } {
  const { receivedAtMs, sentAtMs } = answer;
  const delayMs = Math.max(0, (answeredAtMs - askedAtMs) - (sentAtMs - receivedAtMs));
  return {
    aheadMs: ((receivedAtMs - askedAtMs) + (sentAtMs - answeredAtMs)) / 2,
    uncertaintyMs: delayMs / 2,
  };
}

/** Unix time; null for the zero that means "not known". */
function timestampMs(view: DataView, offset: number): number | null {
  const seconds = view.getUint32(offset);
  const fraction = view.getUint32(offset + 4);
  if (seconds === 0 && fraction === 0) return null;
  // RFC 4330 section 3: with the highest bit set it is 1968 to 2036, without it 2036 to 2104.
  const sinceFirstEra = seconds >= ERA_SECONDS / 2 ? seconds : seconds + ERA_SECONDS;
  return (sinceFirstEra - UNIX_EPOCH_SECONDS + fraction / ERA_SECONDS) * MS_PER_SECOND;
}

function stray(why: string): NtpAnswer {
  return { kind: "stray", why };
}

function refusal(why: string): NtpAnswer {
  return { kind: "refusal", why };
}
