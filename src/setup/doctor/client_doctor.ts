/** `postern client doctor`: why a knock from this machine does nothing. */
import { DEFAULT_CLOCK_SKEW_SECONDS } from "../../server/knock/config.ts";
import { clientFileChecks } from "./client_files.ts";
import { clientNetworkChecks } from "./client_network.ts";
import { clockCheck } from "./clock_check.ts";
import { type Check, type Finding, notChecked, runChecks } from "./finding.ts";
import type { Machine } from "./machine.ts";

export interface ClientDoctorOptions {
  readonly machine: Machine;
  /** As typed with `--address`; undefined: only this machine is looked at. */
  readonly address: string | undefined;
  readonly keyPath: string | undefined;
  readonly timeFrom: string;
  readonly offline: boolean;
}

/** What `client setup` writes as `max_packet_age_seconds`; a server of other hands may have no limit. */
const USUAL_PACKET_AGE_SECONDS = 300;

/** @throws {UsageFailure} if the address is malformed */
export async function runClientDoctor(options: ClientDoctorOptions): Promise<Finding[]> {
  const { machine, address, offline, timeFrom } = options;
  const network: Check[] = address === undefined
    ? [{
      name: "route",
      run: () => [notChecked("no server was named", "postern client doctor -a HOST:PORT")],
    }]
    : clientNetworkChecks({ machine, address, offline });
  return await runChecks([
    clockCheck({
      machine,
      timeFrom,
      offline,
      limits: {
        aheadSeconds: DEFAULT_CLOCK_SKEW_SECONDS,
        aheadMeans: "a server refuses knocks from the future (beyond_skew)",
        behindSeconds: USUAL_PACKET_AGE_SECONDS,
        behindMeans: "a server that postern set up refuses knocks that old (too_old)",
      },
    }),
    ...network,
    ...clientFileChecks(options),
  ]);
}
