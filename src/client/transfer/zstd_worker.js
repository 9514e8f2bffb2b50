/*
 * Runs in a worker: makes chunks smaller. `zstd_pool.ts` starts it from its text, which a bundle holds as such, and
 * speaks with it:
 *
 *   ->  { chunk, maxBytes }     <-  a frame of at most so many bytes; the chunk if there is none
 *
 * All memory is handed over both ways, none copied. Answers come in the order of the questions. Whatever is thrown here
 * ends the worker, and with it the transfer.
 */
import { constants, zstdCompressSync } from "node:zlib";

const LEVEL = 1;
/** The library sets memory aside once more when its output fills it to the last byte. */
const SLACK_BYTES = 64;
/** What is shorter may be cut from memory that the library shares out, which must not be handed over. */
const MIN_OWN_BYTES = 16_384;

globalThis.onmessage = ({ data: { chunk, maxBytes } }) => {
  const frame = compressed(chunk, maxBytes);
  // Given back at once: a collector does not see how much memory it would free, and lets it pile up.
  if (frame !== null) chunk.buffer.transfer(0);
  const answer = frame ?? chunk;
  globalThis.postMessage(answer, [answer.buffer]);
};

function compressed(chunk, maxBytes) {
  const params = { [constants.ZSTD_c_compressionLevel]: LEVEL, [constants.ZSTD_c_checksumFlag]: 0 };
  const chunkSize = Math.max(maxBytes + SLACK_BYTES, MIN_OWN_BYTES);
  try {
    const pledgedSrcSize = chunk.length;
    const frame = zstdCompressSync(chunk, { params, pledgedSrcSize, maxOutputLength: maxBytes, chunkSize });
    // Only as much memory as it needs: it may wait for the link for long.
    return new Uint8Array(frame.buffer.transfer(frame.length));
  } catch (error) {
    if (error.code === "ERR_BUFFER_TOO_LARGE") return null;
    throw error;
  }
}
