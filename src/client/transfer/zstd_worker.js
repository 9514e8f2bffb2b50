/*
 * Runs in a worker: makes chunks smaller and large again. `zstd_pool.ts` starts it from its text, which a bundle holds
 * as such, and speaks with it:
 *
 *   ->  { kind: "compress", bytes, maxBytes }     <-  { bytes: a frame of at most so many, or null; spare: the input }
 *   ->  { kind: "decompress", bytes, maxBytes }   <-  { bytes: at most so many, or null if they are no frame of that }
 *
 * All memory is handed over both ways, none copied. Answers come in the order of the questions. Whatever is thrown here
 * ends the worker, and with it the transfer.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";

const LEVEL = 1;
/** As far as every decoder should be able to look back (RFC 8878, section 3.1.1.1.2); more is there to take memory. */
const MAX_WINDOW_LOG = 23;
/** The library sets memory aside once more when its output fills it to the last byte. */
const SLACK_BYTES = 64;
/** What is shorter may be cut from memory that the library shares out, which must not be handed over. */
const MIN_OWN_BYTES = 16_384;

globalThis.onmessage = ({ data: { kind, bytes, maxBytes } }) => {
  if (kind === "compress") {
    answer(compressed(bytes, maxBytes), bytes);
  } else {
    const output = decompressed(bytes, maxBytes);
    // Given back at once: a collector does not see how much memory it would free, and lets it pile up.
    bytes.buffer.transfer(0);
    answer(output, null);
  }
};

function compressed(bytes, maxBytes) {
  const params = { [constants.ZSTD_c_compressionLevel]: LEVEL, [constants.ZSTD_c_checksumFlag]: 0 };
  try {
    const frame = zstdCompressSync(bytes, { params, pledgedSrcSize: bytes.length, ...outputOf(maxBytes) });
    // Only as much memory as it needs: it may wait for the link for long.
    return new Uint8Array(frame.buffer.transfer(frame.length));
  } catch (error) {
    if (error.code === "ERR_BUFFER_TOO_LARGE") return null;
    throw error;
  }
}

function decompressed(bytes, maxBytes) {
  const params = { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG };
  try {
    const { buffer, engine } = zstdDecompressSync(bytes, { params, info: true, ...outputOf(maxBytes) });
    // Behind the frame there may be something else, which the library does not look at.
    return engine.bytesWritten === bytes.length ? buffer : null;
  } catch {
    return null;
  }
}

function outputOf(maxBytes) {
  return { maxOutputLength: maxBytes, chunkSize: Math.max(maxBytes + SLACK_BYTES, MIN_OWN_BYTES) };
}

function answer(output, spare) {
  // A Buffer of Node's is no plain array on the other side.
  const bytes = output && new Uint8Array(output.buffer, 0, output.length);
  globalThis.postMessage({ bytes, spare }, [bytes, spare].filter(Boolean).map(({ buffer }) => buffer));
}
