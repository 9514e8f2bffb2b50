/** `postern server relay`. */
import {
  formatListenAddress,
  LISTEN_ADDRESS_FORMS,
  parseListenAddress,
} from "../server/knock/listen_address.ts";
import { openFilesNeeded, type RelayLimits, type RoomLimits } from "../server/relay/limits.ts";
import { relayPermissions } from "../server/relay/permissions.ts";
import type { RelayConfig } from "../server/relay/relay.ts";
import { UsageFailure } from "../system/failure.ts";
import { absolutePath } from "../system/path.ts";
import { permissionSet } from "../system/permissions.ts";
import { printFacts } from "./check_summary.ts";
import { logFormat } from "./log_format.ts";
import type { OptionValues } from "./parse.ts";
import { enforcePermissions, type Invocation } from "./permission_audit.ts";
import { printNotice } from "./terminal.ts";

/** Relays until a signal, or says what the options mean. */
export async function serverRelay(values: OptionValues, invocation: Invocation): Promise<void> {
  const config = relayConfig(values);
  const needed = permissionSet(relayPermissions(config));
  if (values.flag("check")) return printFacts("the options are good", facts(config), needed);
  enforcePermissions(needed, invocation, values.flag("strict-permissions"), printNotice);
  const { runRelay } = await import("../server/relay/run.ts");
  await runRelay(config, { logFormat: logFormat(values) });
}

/**
 * What the options of `server relay` say.
 *
 * @throws {UsageFailure} if the address is none
 */
export function relayConfig(values: OptionValues): RelayConfig {
  const bind = values.requiredText("bind");
  const address = parseListenAddress(bind);
  if (address === null) {
    throw new UsageFailure(
      `cannot use option --bind: found "${bind}", accepted: ${LISTEN_ADDRESS_FORMS}`,
    );
  }
  const status = values.text("status");
  return {
    address,
    identifierBytes: Number(values.requiredText("id-bytes")),
    limits: limits(values),
    statusPath: status === undefined ? null : absolutePath(status),
  };
}

function limits(values: OptionValues): RelayLimits {
  const room = (name: string, time: string): RoomLimits => ({
    max: values.number(`max-${name}`),
    maxPerNetwork: values.number(`max-${name}-per-ip`),
    timeMs: values.number(time),
  });
  const rate = values.number("rate");
  return {
    arriving: room("arriving", "first-bytes-time"),
    parked: room("parked", "park-time"),
    staples: room("staples", "idle-time"),
    bytesPerSecond: rate === 0 ? null : rate,
  };
}

function facts({ address, identifierBytes, limits, statusPath }: RelayConfig): [string, string][] {
  const { arriving, parked, staples, bytesPerSecond } = limits;
  return [
    ["address", formatListenAddress(address)],
    ["identifier", `${identifierBytes} bytes`],
    ["arriving", describe(arriving)],
    ["parked", describe(parked)],
    ["staples", `${describe(staples)} without a byte`],
    ["rate", bytesPerSecond === null ? "no limit" : `${bytesPerSecond} bytes a second through each staple`],
    ["open files", `${openFilesNeeded(limits)} at most`],
    ["status file", statusPath ?? "none"],
  ];
}

function describe({ max, maxPerNetwork, timeMs }: RoomLimits): string {
  return `${max}, of one IP ${maxPerNetwork}, each for ${timeMs / 1000} s`;
}
