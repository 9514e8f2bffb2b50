/** A program under test: one connection over which bodies are sent to come back unchanged. */

/** What a connection carries all its life: short texts as JSON programs send them, or long runs of bytes. */
export type Payload = "text" | "bytes";
export type Body = string | Uint8Array<ArrayBuffer>;

/** How two processes meet. */
export type Wire = "tcp" | "unix";

/** The answering end. */
export interface Server {
  /** What the calling end connects to. */
  readonly address: string;
}

/** The calling end; lives as long as its process. */
export interface Caller {
  echo(body: Body): Promise<Body>;
  /** Takes back what came back: nobody looks at it any more. */
  giveBack?(body: Body): void;
}

/** Both ends of a program that works between processes. */
export interface Program {
  /** @param address of the wire: `host:port`, or the path of a socket that is not there yet */
  serve(wire: Wire, address: string, payload: Payload): Promise<Server>;
  connect(wire: Wire, address: string, payload: Payload): Promise<Caller>;
}

/** A program whose ends meet within a process: in one thread, or with a worker. */
export interface LocalProgram {
  /** In the worker. */
  serve(scope: WorkerScope, payload: Payload): Promise<void>;
  connect(worker: Worker, payload: Payload): Promise<Caller>;
  /** Both ends in this thread. */
  loop(payload: Payload): Promise<Caller>;
}

/** What a worker sees as `self`. */
export type WorkerScope = Pick<MessagePort, "postMessage" | "addEventListener" | "removeEventListener">;

/** @throws {TypeError} for any other word */
export function wireOf(word: string): Wire {
  if (word === "tcp" || word === "unix") return word;
  throw new TypeError(`no such wire: "${word}"`);
}

/** @throws {TypeError} for any other word */
export function payloadOf(word: string): Payload {
  if (word === "text" || word === "bytes") return word;
  throw new TypeError(`no such payload: "${word}"`);
}
