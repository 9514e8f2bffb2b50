/** `postern server`: the process around a knock server, its signals and its permissions. */
import { systemClock } from "../../system/clock.ts";
import { Log } from "../../system/log.ts";
import type { LogFormat } from "../../system/log.ts";
import type { ServerConfig } from "./config.ts";
import { formatListenAddress } from "./listen_address.ts";
import { secureRandom } from "./random.ts";
import { KnockServer } from "./server.ts";
import type { ServerParts } from "./server.ts";
import { checkServer } from "./startup.ts";

export interface ServerOptions {
  readonly logFormat: LogFormat;
  /** Overrides the configuration's `status_file`. */
  readonly statusPath?: string;
  /** Look whether the server would start, write and bind nothing, and return. */
  readonly check?: boolean;
}

/**
 * Serves until SIGTERM or SIGINT; SIGHUP reloads. Resolves within a second of the signal. A disk that hangs for ever
 * can keep its system call, and so the process, alive: the caller ends it with `Deno.exit`.
 *
 * @throws {Failure} if the server cannot start
 */
export async function runServer(config: ServerConfig, options: ServerOptions): Promise<void> {
  const log = new Log({ role: "server", format: options.logFormat });
  const parts = {
    log,
    clock: systemClock,
    random: secureRandom(),
    ...(options.statusPath === undefined ? {} : { statusPath: options.statusPath }),
  };
  if (options.check === true) return await checkServer(config, parts);

  const stopAsked = Promise.withResolvers<void>();
  const starting = new AbortController();
  let server: KnockServer | null = null;
  let reloadAsked = false;
  const stop = (): void => {
    starting.abort();
    stopAsked.resolve();
  };
  // Before the start, so that an early SIGHUP, whose default is to kill, is a reload too.
  const reload = (): void => {
    if (server === null) reloadAsked = true;
    else void server.reload();
  };
  Deno.addSignalListener("SIGTERM", stop);
  Deno.addSignalListener("SIGINT", stop);
  Deno.addSignalListener("SIGHUP", reload);
  try {
    const running = await startUnlessStopped(config, parts, starting.signal);
    if (running === null) return;
    server = running;
    dropPermissions(config, log);
    if (reloadAsked) void running.reload();
    await stopAsked.promise;
    await running.stop();
  } finally {
    Deno.removeSignalListener("SIGTERM", stop);
    Deno.removeSignalListener("SIGINT", stop);
    Deno.removeSignalListener("SIGHUP", reload);
  }
}

/** null if the signal came while a predecessor's lock was waited for. */
async function startUnlessStopped(
  config: ServerConfig,
  parts: ServerParts,
  signal: AbortSignal,
): Promise<KnockServer | null> {
  try {
    return await KnockServer.start(config, { ...parts, signal });
  } catch (error) {
    if (signal.aborted && error === signal.reason) return null;
    throw error;
  }
}

const UNUSED_KINDS = ["run", "env", "sys", "ffi"] as const;

/**
 * Gives up what a bound server has no use for: whole kinds, and the listening address, which is a grant of its own
 * when the process was started with its own flags; from then on not even a datagram to itself can be sent. Under a
 * broad net grant the runtime keeps all of it (the commander's socket is net too), which the command line has
 * warned of.
 */
function dropPermissions(config: ServerConfig, log: Log): void {
  for (const name of UNUSED_KINDS) {
    const { state } = Deno.permissions.revokeSync({ name });
    if (state === "granted") log.warn("permission could not be given up", { permission: name });
  }
  Deno.permissions.revokeSync({ name: "net", host: formatListenAddress(config.address) });
}
