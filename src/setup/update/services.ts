/** The systemd services of an installation. */
import { Failure } from "../../system/failure.ts";
import { COMMANDER_UNIT, SERVER_UNIT, SYSTEMD_RUNS_PATH } from "../layout.ts";
import { SYSTEMCTL } from "../programs.ts";
import { lastWords, runProgram } from "./child_program.ts";
import { exists } from "./swap_disk.ts";
import type { Role } from "../role.ts";

const ASK_TIMEOUT_MS = 15_000;
const RESTART_TIMEOUT_MS = 100_000;

/** The roles that run as services, in the order in which they are started: the commander makes the socket. */
export const SERVICE_UNITS: readonly (readonly [Role, string])[] = [
  ["commander", COMMANDER_UNIT],
  ["server", SERVER_UNIT],
];

export interface Services {
  /** Those of the units that run, or try to. */
  running(units: readonly string[]): Promise<string[]>;
  /** @throws {Failure} if one of them does not run afterwards */
  restart(units: readonly string[]): Promise<void>;
}

/** Those of a machine that systemd does not run, or of another root. */
export const noServices: Services = {
  running: () => Promise.resolve([]),
  restart: () => Promise.resolve(),
};

export async function systemServices(): Promise<Services> {
  return await exists(SYSTEMD_RUNS_PATH) ? systemdServices : noServices;
}

const RUNNING_STATES: readonly string[] = ["active", "activating", "reloading"];

const systemdServices: Services = {
  async running(units): Promise<string[]> {
    const found: string[] = [];
    for (const unit of units) {
      const { stdout } = await runProgram(SYSTEMCTL, ["is-active", unit], ASK_TIMEOUT_MS);
      if (RUNNING_STATES.includes(stdout.trim())) found.push(unit);
    }
    return found;
  },

  async restart(units): Promise<void> {
    if (units.length === 0) return;
    // A unit that new executables made fail too often is not started again otherwise.
    await runProgram(SYSTEMCTL, ["reset-failed", ...units], ASK_TIMEOUT_MS);
    const { code, stderr } = await runProgram(SYSTEMCTL, ["restart", ...units], RESTART_TIMEOUT_MS);
    if (code !== 0) throw new Failure(`could not restart ${units.join(", ")}: ${lastWords(stderr)}`);
    const running = await this.running(units);
    const gone = units.filter((unit) => !running.includes(unit));
    if (gone.length > 0) {
      throw new Failure(`${gone.join(", ")} ended right after the restart`, {
        hint: `journalctl -u ${gone[0]} -n 20`,
      });
    }
  },
};
