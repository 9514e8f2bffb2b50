/** `postern server relay`: the process around a relay, its signals and its permissions. */
import { systemClock } from "../../system/clock.ts";
import { Log, type LogFormat } from "../../system/log.ts";
import { Relay, type RelayConfig } from "./relay.ts";

/** How the process speaks. */
export interface RelayOptions {
  readonly logFormat: LogFormat;
}

const SIGNALS = ["SIGTERM", "SIGINT"] as const;

/**
 * Relays until SIGTERM or SIGINT, then hangs up on everybody.
 *
 * @throws {Failure} if it cannot listen
 */
export async function runRelay(config: RelayConfig, { logFormat }: RelayOptions): Promise<void> {
  const log = new Log({ role: "relay", format: logFormat });
  const stopAsked = Promise.withResolvers<void>();
  const stop = (): void => stopAsked.resolve();
  for (const signal of SIGNALS) Deno.addSignalListener(signal, stop);
  try {
    const relay = await Relay.start(config, { log, clock: systemClock });
    dropPermissions(config, log);
    await stopAsked.promise;
    await relay.stop();
  } finally {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, stop);
  }
}

const UNUSED_KINDS = ["net", "run", "env", "sys", "ffi", "import"] as const;
const FILE_KINDS = ["read", "write"] as const;

/**
 * Gives up, for good, what a relay that listens has no use for: the network too, since accepting goes on without. From
 * then on nobody inside of it could connect anywhere, whatever was granted.
 */
function dropPermissions({ statusPath }: RelayConfig, log: Log): void {
  for (const name of [...UNUSED_KINDS, ...statusPath === null ? FILE_KINDS : []]) {
    const { state } = Deno.permissions.revokeSync({ name });
    if (state === "granted") log.warn("permission could not be given up", { permission: name });
  }
}
