/**
 * A program that connects, and lets the test speak through it: a copy of Python under another name, which so is an
 * executable of its own. Debian package python3.
 */
import type { Connection } from "../../src/protocol/transport/transport.ts";
import { TransportError } from "../../src/protocol/transport/transport.ts";

/** Copies what comes on its standard input to the connection, and back. */
const PIPE = `
import os, sys, threading
def pipe(s):
    def up():
        while True:
            data = os.read(0, 65536)
            if not data: break
            os.write(s, data)
        os._exit(0)
    threading.Thread(target=up, daemon=True).start()
    while True:
        data = os.read(s, 65536)
        if not data: break
        os.write(1, data)
`;

/** Connects, does what the test wants to see done, and is a pipe. */
const DIAL = `${PIPE}
import socket, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2]))).detach()
`;

/** What a program does once it is connected; Python, \`s\` is the descriptor. */
export const MISCHIEF = {
  none: "",
  /** Another process holds the connection too, for as long as the first lives. */
  shares: `
parent = os.getpid()
if os.fork() == 0:
    os.close(0)
    while os.getppid() == parent: time.sleep(0.02)
    os._exit(0)
`,

  claimsPid: `
open("/proc/self/comm", "w").write('",pid=%s,fd=3),(' % sys.argv[3])
`,
  /** Becomes the program \`sys.argv[3]\` once the listener's hello has come, which that one passes on and answers. */
  becomes: `
def copied(source, target, length):
    data = b""
    while len(data) < length: data += os.read(source, length - len(data))
    if target is not None: os.write(target, data)
    return data
copied(0, s, 280)
hello = copied(s, None, 280)
os.set_inheritable(s, True)
os.execv(sys.argv[3], [sys.argv[0], "-c", ${
    JSON.stringify(PIPE)
  } + "\\nos.write(1, bytes.fromhex(sys.argv[1]))\\npipe(int(sys.argv[2]))", hello.hex(), str(s)])
`,
  /** Becomes the program \`sys.argv[3]\` at once, under the name it had. */
  isNamedOtherwise: `
os.set_inheritable(s, True)
os.execv(sys.argv[3], [sys.argv[4], "-c", ${JSON.stringify(PIPE)} + "\\npipe(int(sys.argv[1]))", str(s)])
`,
} as const;

/** Starts a program that connects; the connection is what its standard input and output carry. */
export function dialling(
  executable: string,
  address: string,
  mischief: string,
  ...args: readonly string[]
): DiallingProgram {
  const colon = address.lastIndexOf(":");
  const host = address.slice(0, colon).replace(/[[\]]/g, "");
  return new DiallingProgram(
    new Deno.Command(executable, {
      args: ["-I", "-S", "-c", `${DIAL}${mischief}\npipe(s)`, host, address.slice(colon + 1), ...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn(),
  );
}

/** The connection of a program, seen through its pipes. */
export class DiallingProgram implements Connection, AsyncDisposable {
  readonly transport = "tcp";
  readonly remoteAddress = null;
  readonly localAddress = null;
  readonly confidential = false;
  readonly pid: number;
  readonly #child: Deno.ChildProcess;
  readonly #reader: ReadableStreamBYOBReader;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;

  constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.pid = child.pid;
    this.#reader = child.stdout.getReader({ mode: "byob" });
    this.#writer = child.stdin.getWriter();
  }

  async read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    const { value, done } = await this.#reader.read(new Uint8Array(buffer.length));
    if (done || value === undefined) return null;
    buffer.set(value);
    return value.length;
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      await this.#writer.write(new Uint8Array(bytes));
    } catch (cause) {
      throw new TransportError("lost", "the program has gone", { cause });
    }
  }

  async closeWrite(): Promise<void> {
    await this.#writer.close().catch(() => {});
  }

  close(): void {
    this.#writer.abort().catch(() => {});
    this.#reader.cancel().catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await this.#child.status;
  }
}
