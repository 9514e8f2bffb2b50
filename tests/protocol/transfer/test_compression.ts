/** Compression for tests of sessions, in this thread. */
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import type { Compression } from "../../../src/protocol/transfer/source.ts";

/** Never pays. */
export const NO_COMPRESSION: Compression = {
  compress: (chunk) => Promise.resolve(chunk),
  decompress: () => Promise.reject(new TransferError("malformed", "nothing is compressed here")),
};

/** Real zstd, of which a truncated frame gives no error. */
export const ZSTD: Compression = {
  compress(chunk): Promise<Uint8Array<ArrayBuffer>> {
    const compressed = new Uint8Array(zstdCompressSync(chunk));
    return Promise.resolve(compressed.length < chunk.length ? compressed : chunk);
  },
  decompress(compressed, sizeBytes): Promise<Uint8Array<ArrayBuffer>> {
    try {
      return Promise.resolve(new Uint8Array(zstdDecompressSync(compressed, { maxOutputLength: sizeBytes })));
    } catch (cause) {
      return Promise.reject(new TransferError("malformed", "it is no zstd frame of that length", { cause }));
    }
  },
};
