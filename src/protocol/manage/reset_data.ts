/**
 * The data of a reset: code u16 | text, UTF-8, 0 to 512 bytes.
 *
 * The first bit of the code says that its sender had sent end on this flow before, see flow_state.ts.
 */
import { LinkError, MAX_RESET_TEXT_BYTES, RESET_HEAD_BYTES } from "./frame.ts";
import { RESET_CODES, type ResetCode, resetCodeOf } from "./reset_code.ts";
import { shownText } from "./shown_text.ts";

const AFTER_END = 0x8000;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What a reset says. */
export interface ResetData {
  readonly code: ResetCode;
  /** Fit to be shown, see shown_text.ts. */
  readonly text: string;
  readonly isAfterEnd: boolean;
}

/** Writes it, as one without an end before; the text is cut to 512 bytes at the end of a character. */
export function encodeResetData(code: ResetCode, text: string): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(RESET_HEAD_BYTES + MAX_RESET_TEXT_BYTES);
  new DataView(data.buffer).setUint16(0, RESET_CODES[code]);
  const { written } = encoder.encodeInto(text, data.subarray(RESET_HEAD_BYTES));
  return data.subarray(0, RESET_HEAD_BYTES + written);
}

/** Says in data that was written that an end went before. */
export function markAfterEnd(data: Uint8Array): void {
  data[0] = (data[0] ?? 0) | AFTER_END >> 8;
}

/**
 * Reads it; its length was checked by the reader of frames.
 *
 * @throws {LinkError} if the text is not UTF-8
 */
export function decodeResetData(data: Uint8Array): ResetData {
  const number = (data[0] ?? 0) << 8 | (data[1] ?? 0);
  try {
    const text = shownText(decoder.decode(data.subarray(RESET_HEAD_BYTES)));
    return { code: resetCodeOf(number & ~AFTER_END), text, isAfterEnd: (number & AFTER_END) !== 0 };
  } catch {
    throw new LinkError("malformed", "cannot read a reset: its text is not UTF-8");
  }
}
