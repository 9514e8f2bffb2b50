/**
 * Standard input and output as a connection: a program starts another one and talks to it, and nobody else can.
 *
 *   parent: childStdio({ command }) -- connect() --> starts the child; its stdin and stdout are the connection
 *   child:  stdio() -- listen() or connect() --> the same connection from the other side
 *
 * What travels are the pieces of `PieceConnection`. Standard error stays free for messages. Whatever else the child
 * prints to its standard output, by `console.log` above all, lands between the pieces and cuts the connection.
 */
import { PieceConnection } from "./piece_connection.ts";
import { StreamConnection } from "./streams.ts";
import {
  type Connection,
  type ConnectOptions,
  type Listener,
  type Transport,
  TransportError,
} from "./transport.ts";
import { transportErrorOf } from "./transport_errors.ts";

/** Address for those who want one. */
const ADDRESS = "stdio";
/** Time in which the end of the pipes follows the end of the child; longer if a grandchild has them too. */
const END_GRACE_MS = 500;
const DEFAULT_EXIT_GRACE_MS = 1_000;

/** Which program to start, and how. */
export interface ChildStdioOptions {
  /** The program: a path, or a name to look for in `PATH`. */
  readonly command: string;
  /** What it is given, without a shell in between. */
  readonly args?: readonly string[];
  /** Variables beside or instead of those of this program. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether the child gets none of this program's variables but `env`. */
  readonly clearEnv?: boolean;
  /** Its working directory; that of this program if not given. */
  readonly cwd?: string;
  /** Where its messages go: "inherit", to this program's standard error, if not given. */
  readonly stderr?: "inherit" | "null";
  /**
   * Time the child has after `close` to end by itself, in milliseconds, 1,000 if not given; then it gets SIGTERM,
   * and after the same time again SIGKILL.
   */
  readonly exitGraceMs?: number;
  /** Told when a child has ended. */
  readonly onExit?: (status: Deno.CommandStatus) => void;
}

/**
 * Makes a transport whose `connect` starts a program; each connection has a process of its own. The pipes of the
 * child are closed by `close`, and then the child is ended if it does not end by itself. A child that ends is
 * noticed: reads come to their end and writes fail, also while some program that it started has the pipes open.
 *
 * Needs `--allow-run`, as a whole or for the command. It cannot listen.
 */
export function childStdio(options: ChildStdioOptions): Transport {
  return {
    name: "stdio",
    address: ADDRESS,
    listen: () =>
      Promise.reject(
        new TransportError(
          "unsupported",
          "cannot listen on the stdio of a child: the child does, by stdio()",
        ),
      ),
    connect: async (_address?: string, connectOptions: ConnectOptions = {}): Promise<Connection> => {
      // A promise in between, so that a signal aborted right after the call counts, as everywhere.
      await Promise.resolve();
      connectOptions.signal?.throwIfAborted();
      return startChild(options);
    },
  };
}

function startChild(options: ChildStdioOptions): Connection {
  const { command, args = [], env, clearEnv = false, cwd, stderr = "inherit" } = options;
  const what = `cannot start ${JSON.stringify(command)}`;
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(command, {
      args: [...args],
      clearEnv,
      ...(env === undefined ? {} : { env }),
      ...(cwd === undefined ? {} : { cwd }),
      stdin: "piped",
      stdout: "piped",
      stderr,
    }).spawn();
  } catch (error) {
    throw transportErrorOf(error, "connect", what, `--allow-run=${command}`);
  }
  const pipes = new StreamConnection({
    readable: child.stdout,
    writable: child.stdin,
    transport: "stdio",
    remoteAddress: `process ${child.pid}`,
    confidential: true,
    writesAtOnce: true,
    onClose: () => endChild(child, options.exitGraceMs ?? DEFAULT_EXIT_GRACE_MS),
  });
  const exited = child.status.then((status) => {
    const how = status.signal === null ? `with code ${status.code}` : `by ${status.signal}`;
    const error = new TransportError("lost", `cannot talk to process ${child.pid}: it has ended ${how}`);
    pipes.expectEnd(error, END_GRACE_MS);
    options.onExit?.(status);
    return error;
  });
  exited.catch(() => {});
  return new PieceConnection(pipes, () => explainLoss(child, exited));
}

/** Pipes end a moment before the process does, or long before if it closes them itself. */
function explainLoss(child: Deno.ChildProcess, exited: Promise<TransportError>): Promise<TransportError> {
  const silent = `cannot talk to process ${child.pid}: it has closed its pipes`;
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(new TransportError("lost", silent)), END_GRACE_MS);
    exited.then(resolve, (error) => resolve(transportErrorOf(error, "use", silent)))
      .finally(() => clearTimeout(timer));
  });
}

function endChild(child: Deno.ChildProcess, graceMs: number): void {
  let timer = setTimeout(() => {
    kill(child, "SIGTERM");
    timer = setTimeout(() => kill(child, "SIGKILL"), graceMs);
  }, graceMs);
  const ended = (): void => clearTimeout(timer);
  child.status.then(ended, ended);
}

function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch {
    // It has ended meanwhile.
  }
}

/** Whether standard input and output of this process are in use: there is one of each. */
let taken = false;

/**
 * Makes the transport of a program that `childStdio` has started. There is one connection, given once, by `connect`
 * or by the first `accept` of `listen`, whichever the program's role is; when it is closed, `accept` gives null.
 * Needs no permission.
 *
 * A write to a parent that does not read is given up by `close`, but the system call of it waits, and the process
 * with it, until the parent reads, closes its end or ends.
 */
export function stdio(): Transport {
  return {
    name: "stdio",
    address: ADDRESS,
    listen(): Promise<Listener> {
      if (taken) return Promise.reject(alreadyTaken("address", "listen on"));
      taken = true;
      return Promise.resolve(new StdioListener());
    },
    async connect(_address?: string, { signal }: ConnectOptions = {}): Promise<Connection> {
      await Promise.resolve();
      signal?.throwIfAborted();
      if (taken) throw alreadyTaken("refused", "connect to");
      taken = true;
      return openStdio(() => {});
    },
  };
}

function alreadyTaken(code: "address" | "refused", act: string): TransportError {
  return new TransportError(code, `cannot ${act} stdio: this process has its one connection already`);
}

function openStdio(onClose: () => void): Connection {
  const pipes = new StreamConnection({
    readable: Deno.stdin.readable,
    writable: Deno.stdout.writable,
    transport: "stdio",
    remoteAddress: "the parent process",
    confidential: true,
    writesAtOnce: true,
    onClose,
  });
  const loss = new TransportError(
    "lost",
    "cannot talk to the parent process: it has closed the pipes or ended",
  );
  return new PieceConnection(pipes, () => Promise.resolve(loss));
}

class StdioListener implements Listener {
  readonly address = ADDRESS;
  readonly #over = Promise.withResolvers<null>();
  #given = false;
  #closed = false;

  accept(): Promise<Connection | null> {
    if (this.#given || this.#closed) return this.#over.promise;
    this.#given = true;
    return Promise.resolve(openStdio(() => this.#over.resolve(null)));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#over.resolve(null);
  }
}
