/**
 * Knocks until a TCP port opens: the client's way to learn the outcome of a knock that is never answered.
 *
 *   0 s          3 s          6 s ...            knocks, since a datagram can get lost
 *   | | | | | | | | | | | | | | | | |            dials every 200 ms, each for at most 2 s
 *                          ^ the first to succeed wins, the others are dropped
 *
 * Dials overlap on purpose. A firewall that drops a SYN leaves that dial waiting for the kernel's next try a second
 * later, so a port that opened just after the SYN would seem closed for that second.
 */
import { describeError, Failure } from "../../system/failure.ts";
import { hasPermission } from "../../system/permissions.ts";
import { formatHostPort, lacksPort, parseHostAddress } from "./destination.ts";
import { type DuplexConnection, pipeBothWays, type PipeEnds } from "./pipe.ts";
import { sendKnock, type SendKnockOptions, type SendReport } from "./send.ts";

/** What to knock for and which port should open. */
export interface ConnectOptions {
  readonly knock: SendKnockOptions;
  /** `HOST:PORT`, `1.2.3.4:22` or `[::1]:22`. */
  readonly to: string;
  /** How long to keep knocking and dialing. */
  readonly waitMs: number;
}

/** The machine under `connectThroughKnock`, replaceable by tests. */
export interface ConnectMachine {
  readonly knock: (options: SendKnockOptions) => Promise<SendReport>;
  readonly dial: (host: string, port: number, signal: AbortSignal) => Promise<DuplexConnection>;
  readonly pace: ConnectPace;
}

/** How often the door is tried. */
export interface ConnectPace {
  readonly knockPeriodMs: number;
  readonly dialPeriodMs: number;
  readonly dialTimeoutMs: number;
}

const PACE: ConnectPace = { knockPeriodMs: 3000, dialPeriodMs: 200, dialTimeoutMs: 2000 };

/**
 * Knocks, connects and then carries `ends.input` to the port and its answer to `ends.output`, until both have ended.
 *
 * @param notice is called with one line for each thing the user should know
 * @throws {UsageFailure} if an address is malformed
 * @throws {Failure} if the first knock cannot be sent, the port does not open in time, or the connection breaks
 */
export async function connectThroughKnock(
  options: ConnectOptions,
  ends: PipeEnds,
  notice: (text: string) => void,
  machine: Partial<ConnectMachine> = {},
): Promise<void> {
  const { host, port } = parseHostAddress(options.to);
  const target = formatHostPort(host, port);
  if (machine.dial === undefined && !hasPermission({ name: "net", host: target })) {
    throw new Failure(`cannot connect to ${target}: no permission to use the network`, {
      hint: `add --allow-net=${target} to deno run`,
    });
  }
  const knock = machine.knock ?? sendKnock;
  const pace = machine.pace ?? PACE;
  noticeReport(await knock(options.knock), notice);

  const stop = new AbortController();
  const knocking = keepKnocking(() => knock(options.knock), pace, stop.signal, notice);
  let connection: DuplexConnection | null;
  let problem = "";
  try {
    connection = await dialUntilOpen(
      (signal) => (machine.dial ?? dialTcp)(host, port, signal),
      pace,
      options.waitMs,
      (text) => problem = text,
    );
  } finally {
    stop.abort();
    await knocking;
  }
  if (connection === null) {
    const knocks = await knocking;
    throw new Failure(
      `cannot connect to ${target} within ${options.waitMs / 1000} s: ` +
        `knocked ${knocks === 1 ? "once" : `${knocks} times`}, last try: ${problem}`,
      {
        hint:
          "a knock is never answered: look for it in the server's log, and compare command name and clock" +
          (lacksPort(options.knock.address)
            ? "; no knock port was given, and postern's server listens on 34020"
            : ""),
      },
    );
  }
  await pipeBothWays(connection, ends, target);
}

function noticeReport(report: SendReport, notice: (text: string) => void): void {
  for (const warning of report.warnings) notice(`warning: ${warning}`);
  for (const { ip, port, error } of report.destinations) {
    if (error !== null) notice(`warning: no knock sent to ${formatHostPort(ip, port)}: ${error}`);
  }
}

/** Knocks again and again until told to stop. Gives the number of knocks, with the one sent before. */
async function keepKnocking(
  knock: () => Promise<SendReport>,
  pace: ConnectPace,
  stop: AbortSignal,
  notice: (text: string) => void,
): Promise<number> {
  let knocks = 1;
  let lastError = "";
  while (await pause(pace.knockPeriodMs, stop)) {
    try {
      await knock();
      knocks++;
    } catch (error) {
      // The network may be back for the next one; the same trouble is not told twice.
      const text = describeError(error);
      if (text !== lastError) notice(`warning: ${text}`);
      lastError = text;
    }
  }
  return knocks;
}

/** @returns the first connection that opens, or null if none does in time */
async function dialUntilOpen(
  dial: (signal: AbortSignal) => Promise<DuplexConnection>,
  pace: ConnectPace,
  waitMs: number,
  onProblem: (text: string) => void,
): Promise<DuplexConnection | null> {
  const stop = new AbortController();
  const deadline = setTimeout(() => stop.abort(), waitMs);
  let opened: DuplexConnection | null = null;
  const attempts = new Set<Promise<void>>();

  async function attempt(): Promise<void> {
    const own = new AbortController();
    const timer = setTimeout(() => own.abort(), pace.dialTimeoutMs);
    try {
      const connection = await dial(AbortSignal.any([own.signal, stop.signal]));
      if (opened === null) {
        opened = connection;
        stop.abort();
      } else {
        connection.close();
      }
    } catch (error) {
      if (own.signal.aborted) onProblem("no answer");
      else if (!stop.signal.aborted) onProblem(describeError(error));
    } finally {
      clearTimeout(timer);
    }
  }

  onProblem("no answer");
  do {
    const running = attempt();
    attempts.add(running);
    running.then(() => attempts.delete(running));
  } while (await pause(pace.dialPeriodMs, stop.signal));
  await Promise.all(attempts);
  clearTimeout(deadline);
  return opened;
}

async function dialTcp(hostname: string, port: number, signal: AbortSignal): Promise<DuplexConnection> {
  const connection = await Deno.connect({ hostname, port, signal });
  // What is carried is often somebody typing: no keystroke may wait for the next.
  connection.setNoDelay(true);
  return connection;
}

/** @returns false as soon as `stop` is aborted, else true after `ms` */
function pause(ms: number, stop: AbortSignal): Promise<boolean> {
  if (stop.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    function finish(elapsed: boolean): void {
      clearTimeout(timer);
      stop.removeEventListener("abort", onAbort);
      resolve(elapsed);
    }
    function onAbort(): void {
      finish(false);
    }
    const timer = setTimeout(() => finish(true), ms);
    stop.addEventListener("abort", onAbort);
  });
}
