/** What systemd says about a unit. */
import { SYSTEMD_RUNS_PATH } from "../layout.ts";
import { counted, notChecked, ok, type Outcome, problem, warning } from "./finding.ts";
import type { Machine } from "./machine.ts";
import { SYSTEMCTL } from "./programs.ts";

export interface UnitState {
  readonly unit: string;
  readonly isThere: boolean;
  /** `active`, `activating`, `inactive`, `failed`. */
  readonly active: string;
  readonly isEnabled: boolean;
  /** Empty: root. */
  readonly user: string;
  /** Restarts by systemd itself since it was last started by hand. */
  readonly restarts: number;
}

const PROPERTIES = ["LoadState", "ActiveState", "UnitFileState", "User", "NRestarts"] as const;

/** null where systemd does not run the machine, or is not to be asked. */
export async function readUnit(machine: Machine, unit: string): Promise<UnitState | null> {
  if (await machine.stat(SYSTEMD_RUNS_PATH) === null) return null;
  const result = await machine.run(SYSTEMCTL, ["show", `--property=${PROPERTIES.join(",")}`, unit]);
  if (result === null || result.code !== 0) return null;
  const values = new Map(
    result.stdout.split("\n").map((line) => {
      const at = line.indexOf("=");
      return [line.slice(0, at), line.slice(at + 1).trim()];
    }),
  );
  return {
    unit,
    isThere: values.get("LoadState") === "loaded",
    active: values.get("ActiveState") ?? "unknown",
    isEnabled: values.get("UnitFileState") !== "disabled",
    user: values.get("User") ?? "",
    restarts: Number(values.get("NRestarts") ?? 0),
  };
}

/** @param what `server` or `commander` */
export function unitOutcomes(state: UnitState | null, what: string): Outcome[] {
  if (state === null) return [notChecked(`systemd does not run the ${what} here`)];
  const { unit } = state;
  if (!state.isThere) {
    return [
      warning(
        `there is no unit ${unit}: the ${what} does not come back after a reboot`,
        "postern client setup",
      ),
    ];
  }
  const log = `journalctl -u ${unit} -n 20`;
  if (state.active !== "active") {
    return [
      problem(`${unit} is ${state.active}, accepted is active`, `systemctl restart ${unit}; then: ${log}`),
    ];
  }
  const outcomes: Outcome[] = [];
  if (!state.isEnabled) {
    outcomes.push(warning(`${unit} does not start at the next boot`, `systemctl enable ${unit}`));
  }
  if (state.restarts > 0) {
    outcomes.push(
      warning(`${unit} ended by itself and was started again, ${counted(state.restarts, "time")}`, log),
    );
  }
  return outcomes.length > 0 ? outcomes : [ok(`${unit} is active`)];
}
