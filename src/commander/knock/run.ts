/** The commander process: everything of this folder put together, from the lock to the last log line. */
import { type Clock, systemClock } from "../../system/clock.ts";
import { describeError, Failure } from "../../system/failure.ts";
import { acquireLock } from "../../system/lock.ts";
import { Log, type LogFormat } from "../../system/log.ts";
import { joinPath } from "../../system/path.ts";
import { CommandRunner } from "./command_runner.ts";
import type { CommanderConfig } from "./config.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Doorkeeper } from "./doorkeeper.ts";
import { execute } from "./execute.ts";
import { ReadyShells } from "./ready_shell.ts";
import { LeaseRunner } from "./lease_runner.ts";
import { LeaseStore } from "./lease_store.ts";
import { foreignWriter, ownershipOf } from "./ownership.ts";
import { Scheduler } from "./scheduler.ts";
import { CommanderSocket } from "./socket.ts";

export interface CommanderOptions {
  readonly logFormat: LogFormat;
}

/** Starts of one command that may wait for a free slot. */
const MAX_QUEUED_PER_COMMAND = 16;
const LOCK_TIMEOUT_MS = 1000;
/** How long commands that run or wait are given when the commander is told to stop. */
const FINISH_MS = 700;
/** How long what is due at the start may keep the socket closed for all other commands and addresses. */
const FIRST_UNDOS_MS = 5000;
const SOCKET_DIR_MODE = 0o755;

/**
 * Runs the commander until SIGTERM or SIGINT, then lets running commands finish for a moment and resolves. A command
 * that runs longer goes on in its own session; its lease, if it has one, is in the state file for the next start.
 *
 * Gives up the net permission of the whole process once its socket is bound.
 *
 * @throws {Failure} when it cannot start: another commander, a socket folder or a state it cannot use
 */
export async function runCommander(config: CommanderConfig, options: CommanderOptions): Promise<void> {
  const log = new Log({ role: "commander", format: options.logFormat });
  for (const warning of config.warnings) log.warn("configuration", { warning });
  using stop = new StopSignals(log);
  await prepareSocketDir(config, log);
  using _lock = await acquireLock(joinPath(config.socketDir, "commander.lock"), {
    timeoutMs: LOCK_TIMEOUT_MS,
    hint: "another commander serves this socket folder; stop it first",
  });
  const socket = await CommanderSocket.bind(config);
  try {
    giveUpNet(log);
    await serve(config, socket, stop, log, systemClock);
  } finally {
    await socket.close();
  }
}

async function serve(
  config: CommanderConfig,
  socket: CommanderSocket,
  stop: StopSignals,
  log: Log,
  clock: Clock,
): Promise<void> {
  const abandon = new AbortController();
  const { monotonicMs } = clock;
  const store = await LeaseStore.open({
    stateDir: config.stateDir,
    maxLeases: config.maxLeases,
    ownUid: config.ownUid,
    commands: config.commands.filter((spec) => spec.lease !== null).map((spec) => spec.name),
    clock,
  });
  const scheduler = new Scheduler({ monotonicMs, maxQueued: MAX_QUEUED_PER_COMMAND });
  await using shells = new ReadyShells(config.home);
  const runner = new CommandRunner({
    log,
    execute: (execution) => execute(execution, shells),
    monotonicMs,
    abandon: abandon.signal,
  });
  const leases = new LeaseRunner({ store, scheduler, runner, log, clock, newRunId: () => shells.reserve() });
  const dispatcher = new Dispatcher({ ...config, scheduler, runner, leases });
  // What was left open too long is closed before anything can be opened. Should that take long, then only the commands
  // and addresses it is about have to wait: an undo that hangs must not keep everybody out.
  await atMost(FIRST_UNDOS_MS, Promise.race([leases.undoDue(), stop.received]));
  if (!stop.signal.aborted) {
    if (leases.undoing > 0) log.warn("undos still running", { count: leases.undoing });
    await socket.publish();
    leases.start();
    const doorkeeper = new Doorkeeper({
      listener: socket.listener,
      onMessage: (message): void => {
        dispatcher.handle(message).catch((error) =>
          log.error("command failed", { error: describeError(error) })
        );
      },
      log,
      monotonicMs,
    });
    const served = doorkeeper.serve(stop.signal);
    log.info("commander ready", {
      socket: config.socketPath,
      commands: config.commands.length,
      leases: store.leases.size,
    });
    await stop.received;
    await socket.close();
    await served;
  }
  leases.stop();
  const whenIdle = async (): Promise<void> => {
    await dispatcher.whenIdle();
    await scheduler.whenIdle();
  };
  await atMost(FINISH_MS, whenIdle());
  const leftRunning = scheduler.running;
  scheduler.stop();
  abandon.abort();
  await whenIdle();
  await store.whenIdle();
  log.info("commander stopped", { left_running: leftRunning, dropped: runner.droppedCount });
}

/** SIGTERM and SIGINT as a promise and an abort signal. SIGHUP, which rereads the server's keys, must not end this. */
class StopSignals implements Disposable {
  readonly #controller = new AbortController();
  readonly #received = Promise.withResolvers<void>();
  readonly #onSignal = (): void => {
    this.#controller.abort();
    this.#received.resolve();
  };

  readonly #onHangUp: () => void;

  constructor(log: Log) {
    this.#onHangUp = (): void => log.warn("SIGHUP ignored: restart to read commands.toml again");
    Deno.addSignalListener("SIGTERM", this.#onSignal);
    Deno.addSignalListener("SIGINT", this.#onSignal);
    Deno.addSignalListener("SIGHUP", this.#onHangUp);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get received(): Promise<void> {
    return this.#received.promise;
  }

  [Symbol.dispose](): void {
    Deno.removeSignalListener("SIGTERM", this.#onSignal);
    Deno.removeSignalListener("SIGINT", this.#onSignal);
    Deno.removeSignalListener("SIGHUP", this.#onHangUp);
  }
}

async function prepareSocketDir(config: CommanderConfig, log: Log): Promise<void> {
  const { socketDir } = config;
  try {
    await Deno.mkdir(socketDir, { mode: SOCKET_DIR_MODE });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) {
      throw new Failure(`could not create the socket folder ${socketDir}`, {
        cause: error,
        hint: "create its parent, or set socket_dir in config.toml",
      });
    }
  }
  const writer = foreignWriter(ownershipOf(await Deno.stat(socketDir)), config.ownUid, {
    stickyIsFine: true,
  });
  if (writer === null) return;
  log.warn("configuration", {
    warning: `${socketDir}: others may replace the commander's socket (${writer}); ` +
      "accepted is a folder that only root and the commander's user may write",
  });
}

/** A bound listener goes on accepting without any net permission; nothing else of the net is needed any more. */
function giveUpNet(log: Log): void {
  if (Deno.permissions.revokeSync({ name: "net" }).state === "granted") {
    log.warn("could not give up the net permission");
  }
}

async function atMost(limitMs: number, work: Promise<void>): Promise<void> {
  const limit = Promise.withResolvers<void>();
  const timer = setTimeout(limit.resolve, limitMs);
  await Promise.race([work, limit.promise]);
  clearTimeout(timer);
}
