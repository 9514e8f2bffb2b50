/** `postern server manage`: the process around a management server, its signals and its permissions. */
import { systemClock } from "../../system/clock.ts";
import { Log, type LogFormat } from "../../system/log.ts";
import type { ManageConfig } from "./config.ts";
import { openDataFolder } from "./data_folder.ts";
import { LivePolicy } from "./live_policy.ts";
import { ManageServer } from "./manage_server.ts";
import { Registry } from "./registry.ts";
import { loadServerIdentity } from "./server_identity.ts";

/** How the process speaks. */
export interface ManageOptions {
  readonly logFormat: LogFormat;
}

const ENDING_SIGNALS = ["SIGTERM", "SIGINT"] as const;

/**
 * Serves until SIGTERM or SIGINT; SIGHUP reads policy.toml again. Resolves within a second of the signal. A disk that
 * hangs for ever can keep its system call, and so the process, alive: the caller ends it with `Deno.exit`.
 *
 * @throws {Failure} if the server cannot start
 */
export async function runManageServer(config: ManageConfig, { logFormat }: ManageOptions): Promise<void> {
  const log = new Log({ role: "manage", format: logFormat });
  const stopAsked = Promise.withResolvers<void>();
  let server: ManageServer | null = null;
  const stop = (): void => stopAsked.resolve();
  // Before the start, so that an early SIGHUP, whose default is to kill, does no harm: what it asks for is done anyway.
  const reload = (): void => void server?.reload();
  for (const signal of ENDING_SIGNALS) Deno.addSignalListener(signal, stop);
  Deno.addSignalListener("SIGHUP", reload);
  try {
    server = await ManageServer.start(config, { log, clock: systemClock });
    dropPermissions(log);
    await stopAsked.promise;
    await server.stop();
  } finally {
    for (const signal of ENDING_SIGNALS) Deno.removeSignalListener(signal, stop);
    Deno.removeSignalListener("SIGHUP", reload);
  }
}

const UNUSED_KINDS = ["net", "run", "env", "sys", "ffi", "import"] as const;

/**
 * Gives up, for good, what a server that listens has no use for: the network too, since accepting goes on without. From
 * then on nobody inside of it could connect anywhere, whatever was granted.
 */
function dropPermissions(log: Log): void {
  for (const name of UNUSED_KINDS) {
    const { state } = Deno.permissions.revokeSync({ name });
    if (state === "granted") log.warn("permission could not be given up", { permission: name });
  }
}

/** What `--check` says of a data folder. */
export interface ManageFacts {
  readonly hosts: number;
  readonly admins: number;
  readonly invites: number;
  /** Where others reach the server. */
  readonly addresses: readonly string[];
}

/**
 * Looks whether the server would start, and binds nothing.
 *
 * @throws {Failure} if it would not
 */
export async function checkManageServer({ folder }: ManageConfig): Promise<ManageFacts> {
  const places = await openDataFolder(folder);
  using registry = await Registry.open(places);
  const { addresses } = await loadServerIdentity(places, registry);
  await LivePolicy.open(places.policy);
  return {
    hosts: registry.hosts().length,
    admins: registry.admins().length,
    invites: registry.invites().length,
    addresses,
  };
}
