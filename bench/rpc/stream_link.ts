/**
 * Messages over a stream socket, for programs that have no framing of their own. Of what was tried (node:net with
 * and without cork, length prefixes, lines), these were the fastest, so that the socket is no handicap: what is
 * posted while a write is under way goes out in the next one, and one read may bring many messages.
 */
import { Buffer } from "node:buffer";

const READ_BYTES = 256 * 1024;
const LENGTH_BYTES = 4;

/** Where messages go and come from. */
export interface Link<Message> {
  post(message: Message): void;
  on(take: (message: Message) => void): void;
}

/** Texts without line breaks, such as JSON, one a line. */
export function lineLink(socket: Deno.Conn): Link<string> {
  let batch = "";
  const flush = flushing(socket, () => {
    const bytes = Buffer.from(batch);
    batch = "";
    return bytes;
  });
  return {
    post(message): void {
      batch += `${message}\n`;
      flush();
    },
    on(take): void {
      void readLines(socket, take);
    },
  };
}

/** Bytes, with a length in front. */
export function lengthLink(socket: Deno.Conn): Link<Uint8Array> {
  let batch: Uint8Array[] = [];
  const flush = flushing(socket, () => {
    const bytes = Buffer.concat(batch);
    batch = [];
    return bytes;
  });
  return {
    post(message): void {
      const length = Buffer.allocUnsafe(LENGTH_BYTES);
      length.writeUInt32BE(message.length);
      batch.push(length, message);
      flush();
    },
    on(take): void {
      void readFrames(socket, take);
    },
  };
}

/** Gives a function that writes what `takeBatch` gives at the end of the turn, unless that is already under way. */
function flushing(socket: Deno.Conn, takeBatch: () => Uint8Array): () => void {
  let isWriting = false;
  async function write(): Promise<void> {
    isWriting = true;
    await null;
    for (let bytes = takeBatch(); bytes.length > 0; bytes = takeBatch()) {
      for (let at = 0; at < bytes.length;) at += await socket.write(bytes.subarray(at));
    }
    isWriting = false;
  }
  return () => {
    if (!isWriting) void write();
  };
}

async function readLines(socket: Deno.Conn, take: (line: string) => void): Promise<void> {
  const buffer = new Uint8Array(READ_BYTES);
  const decoder = new TextDecoder();
  let rest = "";
  for (let bytes = await socket.read(buffer); bytes !== null; bytes = await socket.read(buffer)) {
    const lines = (rest + decoder.decode(buffer.subarray(0, bytes), { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  }
}

async function readFrames(socket: Deno.Conn, take: (message: Uint8Array) => void): Promise<void> {
  let buffer = Buffer.alloc(READ_BYTES);
  let end = 0;
  for (;;) {
    const bytes = await socket.read(buffer.subarray(end));
    if (bytes === null) return;
    end += bytes;
    let at = 0;
    while (end - at >= LENGTH_BYTES) {
      const frameBytes = LENGTH_BYTES + buffer.readUInt32BE(at);
      if (end - at < frameBytes) {
        if (frameBytes > buffer.length) buffer = Buffer.concat([buffer], 2 * frameBytes);
        break;
      }
      // A copy: what node:v8 reads out of a message points into it.
      take(Buffer.from(buffer.subarray(at + LENGTH_BYTES, at + frameBytes)));
      at += frameBytes;
    }
    if (at > 0) buffer.copyWithin(0, at, end);
    end -= at;
  }
}
