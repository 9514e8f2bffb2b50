/**
 * What comes from a stream, such as standard input, is written to a file before it is offered: an offer says its size,
 * and a link that is lost asks for parts of it again.
 *
 * A run that is killed while it reads leaves nothing to go on with: what had come is a beginning that no later stream
 * can be joined to. Once all has come, its hash is what it is known by: if the same command is typed again and the same
 * bytes come, the share goes on; the file is written anew all the same, as only its bytes can tell.
 */
import { HASH_BYTES } from "../../protocol/transfer/file_hash.ts";
import { shownPath, targetPath } from "../../protocol/transfer/target_path.ts";
import { type Clock, systemClock } from "../../system/clock.ts";
import { Failure } from "../../system/failure.ts";
import { joinPath } from "../../system/path.ts";
import { FileList, identityOf } from "./file_source_list.ts";
import { MemorySource } from "./file_source_memory.ts";
import { earlierEnd } from "./share_state.ts";
import type { ChunkHashes } from "./share_state_hashes.ts";
import { type SharePlace, SPOOL_NAME } from "./share_state_place.ts";
import { type SpoolEnd, SpoolWriter } from "./spool_writer.ts";

/** How a stream is spooled. */
export interface SpoolOptions {
  /** What the file is called on the other side. */
  readonly name: string;
  /** Where it is kept. */
  readonly place: SharePlace;
  /** For the time of what came. @default systemClock */
  readonly clock?: Clock;
  /** Ends it; its reason is thrown. */
  readonly signal?: AbortSignal;
}

/** All that came, in a file. */
export interface SpooledFile {
  /** Which of the two it is. */
  readonly kind: "file";
  /** The one file, as it is offered. */
  readonly files: FileList;
  /** SHA-256 of name and content, 32 bytes. */
  readonly fingerprint: Uint8Array<ArrayBuffer>;
  /** When the same content had come for the first time, milliseconds since 1970. */
  readonly modifiedMs: number;
  /** Tells the hashes of all chunks, which were made on the way. */
  tellHashes(hashes: ChunkHashes): void;
}

/** All that came, in memory: there is no place where it could be kept. */
export interface SpooledMemory {
  /** Which of the two it is. */
  readonly kind: "memory";
  /** What is shared. */
  readonly source: MemorySource;
}

const OFFERED_MODE = 0o644;
const MIB = 1024 * 1024;
/** Longest stream that is held in memory. */
const MAX_MEMORY_BYTES = 8 * MIB;

/**
 * Reads a stream to its end and keeps what came: in a file of mode 0600 in the place, which goes with the place, or in
 * memory if there is no place.
 *
 * @throws {Failure} if the name is none for a file, if there is no room, or more than 8 MiB come and there is no place
 */
export async function spoolStream(
  stream: ReadableStream<Uint8Array>,
  options: SpoolOptions,
): Promise<SpooledFile | SpooledMemory> {
  const { name, place } = options;
  requireName(name);
  if (place.path === null) return await inMemory(stream, options);
  const path = joinPath(place.path, SPOOL_NAME);
  const writer = await SpoolWriter.create(path);
  try {
    await eachPiece(stream, options.signal, (piece) => writer.write(piece));
    return await described(path, await writer.end(), options);
  } catch (error) {
    writer.close();
    await Deno.remove(path).catch(() => {}); // the first failure is the one worth reporting
    throw error;
  }
}

async function described(
  path: string,
  { info, hashes }: SpoolEnd,
  { name, place, clock = systemClock }: SpoolOptions,
): Promise<SpooledFile> {
  const fingerprint = await fingerprintOf(name, info.size, hashes);
  const modifiedMs = await earlierEnd(place, fingerprint) ?? clock.wallMs();
  const files = new FileList();
  files.addRoot({ name, path, isLink: false });
  files.add(
    { kind: "file", path: name, sizeBytes: info.size, modifiedMs, mode: OFFERED_MODE },
    identityOf(info),
  );
  return {
    kind: "file",
    files,
    fingerprint,
    modifiedMs,
    tellHashes(known): void {
      for (let at = 0; at < hashes.length; at += HASH_BYTES) {
        known.put(at / HASH_BYTES, hashes.subarray(at, at + HASH_BYTES));
      }
    },
  };
}

async function inMemory(
  stream: ReadableStream<Uint8Array>,
  { name, clock = systemClock, signal, place }: SpoolOptions,
): Promise<SpooledMemory> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  await eachPiece(stream, signal, (piece) => {
    length += piece.length;
    if (length > MAX_MEMORY_BYTES) throw tooLongForMemory(place);
    pieces.push(piece.slice());
    return Promise.resolve();
  });
  const bytes = new Uint8Array(await new Blob(pieces).arrayBuffer());
  return { kind: "memory", source: new MemorySource("files", name, bytes, clock.wallMs()) };
}

/** Gives every piece of the stream to `act`, one after the other; the stream is cancelled if that fails. */
async function eachPiece(
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignal | undefined,
  act: (piece: Uint8Array) => Promise<void>,
): Promise<void> {
  const reader = stream.getReader();
  const stop = (): void => void reader.cancel(signal?.reason).catch(() => {});
  signal?.addEventListener("abort", stop, { once: true });
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { done, value } = await reader.read();
      signal?.throwIfAborted();
      if (done) return;
      await act(value);
    }
  } catch (error) {
    stop();
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

async function fingerprintOf(
  name: string,
  sizeBytes: number,
  hashes: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const head = new TextEncoder().encode(JSON.stringify(["stream", name, sizeBytes]));
  const hashed = new Uint8Array(head.length + hashes.length);
  hashed.set(head);
  hashed.set(hashes, head.length);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", hashed));
}

function requireName(name: string): void {
  try {
    if (targetPath(name).length === 1) return;
  } catch {
    // Below.
  }
  throw new Failure(
    `cannot share what comes as ${shownPath(name)}: accepted is one name that is safe on every system`,
    {
      hint: "choose another one: --name NAME",
    },
  );
}

function tooLongForMemory({ notice }: SharePlace): Failure {
  return new Failure(
    `cannot share what comes: found more than ${MAX_MEMORY_BYTES / MIB} MiB, and no folder to keep it in` +
      (notice === null ? "" : `: ${notice}`),
    { hint: "write it to a file and share that, or permit the state folder" },
  );
}
