/**
 * Carries bytes both ways between a connection and a pair of streams, each direction ending by itself:
 *
 *   input  --> connection    end of input: the write side of the connection is closed, answers still come
 *   output <-- connection    end of the answers: output is closed, input still goes
 */
import { Failure } from "../../system/failure.ts";

/** A byte stream connection, such as `Deno.TcpConn`. */
export interface DuplexConnection {
  /** Reads into `buffer`; null at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** Writes some of `bytes`, and tells how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Ends the direction towards the other side. */
  closeWrite(): Promise<void>;
  close(): void;
}

/** The local ends, such as `Deno.stdin` and `Deno.stdout`. */
export interface PipeEnds {
  readonly input: { read(buffer: Uint8Array): Promise<number | null> };
  readonly output: { write(bytes: Uint8Array): Promise<number>; close(): void };
}

// One read and one write of this size per turn reach the speed of a C relay.
const BUFFER_BYTES = 256 * 1024;

/** The reader of our output went away on purpose, as `head` does: the end, not an error. */
class OutputGone extends Error {}

/** Our own input broke; no answer of the other side can explain that. */
class InputBroken extends Error {}

/**
 * Carries bytes until both directions have ended, and closes the connection.
 *
 * A read of `ends.input` that is still waiting when the connection breaks or the reader of the output has gone is
 * left behind; the program is expected to end.
 *
 * @param name names the other side in errors
 * @throws {Failure} if the connection or an end breaks before its direction is finished
 */
export async function pipeBothWays(
  connection: DuplexConnection,
  ends: PipeEnds,
  name: string,
): Promise<void> {
  let answersEnded = false;
  let sendingError: unknown = null;

  async function carryInput(): Promise<void> {
    try {
      await copy(inputOf(ends), connection);
      await connection.closeWrite();
    } catch (error) {
      if (error instanceof InputBroken) throw error;
      // After the last answer nobody is left to take the rest of the input. Before it, there may be answers left to
      // read, and reading tells why sending broke.
      if (!answersEnded) sendingError = error;
    }
  }

  async function carryAnswers(): Promise<void> {
    await copy(connection, outputOf(ends));
    answersEnded = true;
    ends.output.close();
  }

  try {
    await Promise.all([carryInput(), carryAnswers()]);
    if (sendingError !== null) throw sendingError;
  } catch (error) {
    if (error instanceof OutputGone) return;
    throw new Failure(
      error instanceof InputBroken ? "cannot read standard input" : `lost the connection to ${name}`,
      { cause: error instanceof InputBroken ? error.cause : error },
    );
  } finally {
    connection.close();
  }
}

function inputOf({ input }: PipeEnds): PipeEnds["input"] {
  return {
    async read(buffer: Uint8Array): Promise<number | null> {
      try {
        return await input.read(buffer);
      } catch (cause) {
        throw new InputBroken(undefined, { cause });
      }
    },
  };
}

function outputOf({ output }: PipeEnds): Pick<PipeEnds["output"], "write"> {
  return {
    async write(bytes: Uint8Array): Promise<number> {
      try {
        return await output.write(bytes);
      } catch (error) {
        throw error instanceof Deno.errors.BrokenPipe ? new OutputGone() : error;
      }
    },
  };
}

async function copy(
  from: { read(buffer: Uint8Array): Promise<number | null> },
  to: { write(bytes: Uint8Array): Promise<number> },
): Promise<void> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  for (;;) {
    const count = await from.read(buffer);
    if (count === null) return;
    for (let written = 0; written < count;) written += await to.write(buffer.subarray(written, count));
  }
}
