/** What the cases ask of the ends of a connection, with words for those who did not get it. */
import { type Connection, TransportError, type TransportErrorCode } from "../transport.ts";
import { ConformanceError, type Within } from "./case.ts";
import { mismatchAt, patternByte } from "./pattern.ts";

const READ_BYTES = 64 * 1024;

/** Reads once and checks that the answer is one that a connection may give. */
export async function readSome(from: Connection, buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
  const count = await from.read(buffer);
  if (count === null || (Number.isInteger(count) && count >= 1 && count <= buffer.length)) return count;
  throw new ConformanceError(
    `expected a read into ${buffer.length} bytes to give 1 to ${buffer.length} or null, it gave ${count}`,
  );
}

/** Reads until so many bytes came, and checks that they are those of the pattern. */
export async function readPattern(
  from: Connection,
  seed: number,
  bytes: number,
  options: { readonly startAt?: number; readonly bufferBytes?: number } = {},
): Promise<void> {
  const { startAt = 0, bufferBytes = READ_BYTES } = options;
  const buffer = new Uint8Array(bufferBytes);
  let got = 0;
  while (got < bytes) {
    const count = await readSome(from, buffer.subarray(0, Math.min(bufferBytes, bytes - got)));
    if (count === null) {
      throw new ConformanceError(
        `expected ${bytes} bytes, the end of the stream came after ${got}: bytes were lost`,
      );
    }
    checkPattern(buffer.subarray(0, count), seed, startAt + got);
    got += count;
  }
}

/** @throws {ConformanceError} at the first byte that is not the one written at this place of the stream */
export function checkPattern(bytes: Uint8Array, seed: number, offset: number): void {
  const at = mismatchAt(bytes, seed, offset);
  if (at === -1) return;
  throw new ConformanceError(
    `expected byte ${offset + at} of the stream to be ${patternByte(seed, offset + at)} as it was written, ` +
      `it is ${bytes[at]}: bytes were lost, doubled, changed or came in another order`,
  );
}

/** Checks that nothing but the end of the stream comes. */
export async function readEnd(from: Connection, within: Within, after: string): Promise<void> {
  const buffer = new Uint8Array(READ_BYTES);
  const count = await within(readSome(from, buffer), `the other end to read null ${after}`);
  if (count === null) return;
  throw new ConformanceError(`expected the other end to read null ${after}, it read ${count} bytes more`);
}

/**
 * Checks that something fails with a `TransportError`.
 *
 * @param what reads on after "expected"
 */
export async function expectFailure(
  promise: Promise<unknown>,
  within: Within,
  what: string,
  ...codes: readonly TransportErrorCode[]
): Promise<void> {
  const wanted = `${what} to be rejected with TransportError${
    codes.length > 0 ? ` "${codes.join('" or "')}"` : ""
  }`;
  let value: unknown;
  try {
    value = await within(promise, wanted);
  } catch (error) {
    checkTransportError(error, wanted, codes);
    return;
  }
  throw new ConformanceError(`expected ${wanted}, it gave ${String(value)}`);
}

/** @throws {ConformanceError} if it is none, or has another code */
export function checkTransportError(
  error: unknown,
  wanted: string,
  codes: readonly TransportErrorCode[],
): void {
  if (error instanceof ConformanceError) throw error;
  if (!(error instanceof TransportError)) {
    throw new ConformanceError(`expected ${wanted}, it was ${String(error)}`, { cause: error });
  }
  if (codes.length > 0 && !codes.includes(error.code)) {
    throw new ConformanceError(`expected ${wanted}, the code was "${error.code}" (${error.message})`, {
      cause: error,
    });
  }
}
