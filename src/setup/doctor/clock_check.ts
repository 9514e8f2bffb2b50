/** The clock: a knock's counter is the time of the client, and the server judges it by its own. */
import { describeError, Failure } from "../../system/failure.ts";
import { type Check, notChecked, ok, type Outcome, problem, warning } from "./finding.ts";
import type { Machine } from "./machine.ts";

/** How far this machine's clock may be off before knocks suffer, in seconds. */
export interface ClockLimits {
  /** Ahead of the truth. */
  readonly aheadSeconds: number;
  readonly behindSeconds: number;
  /** What happens beyond, for the finding. */
  readonly aheadMeans: string;
  readonly behindMeans: string;
}

export interface ClockCheckOptions {
  readonly machine: Machine;
  /** As `--time-from` has it. */
  readonly timeFrom: string;
  readonly offline: boolean;
  readonly limits: ClockLimits;
}

const MS_PER_SECOND = 1000;
/** A clock that runs by NTP is right to far less; beyond this something is not as it should be. */
const WARN_SECONDS = 30;
const SET_CLOCK = "timedatectl set-ntp true (or: apt install chrony)";

export function clockCheck(options: ClockCheckOptions): Check {
  return { name: "clock", run: () => checkClock(options) };
}

async function checkClock({ machine, timeFrom, offline, limits }: ClockCheckOptions): Promise<Outcome[]> {
  if (offline) return [notChecked("--offline: nobody was asked for the time")];
  let reading;
  try {
    reading = await machine.askTime(timeFrom);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return [
      notChecked(
        `nobody told the time: ${describeError(error)}`,
        "where NTP is blocked: --time-from https://HOST/, any web server that you trust",
      ),
    ];
  }
  const { aheadMs, uncertaintyMs } = reading;
  const off = `${describeMs(Math.abs(aheadMs))} ${aheadMs > 0 ? "behind" : "ahead of"} ${timeFrom}`;
  const precision = `, to within ${describeMs(uncertaintyMs)}`;
  // What the network adds is doubt, not an error of this clock.
  const offMs = Math.max(0, Math.abs(aheadMs) - uncertaintyMs);
  const [limitSeconds, means] = aheadMs > 0
    ? [limits.behindSeconds, limits.behindMeans]
    : [limits.aheadSeconds, limits.aheadMeans];
  if (offMs > limitSeconds * MS_PER_SECOND) {
    return [problem(`this machine's clock is ${off}${precision}: ${means}`, SET_CLOCK)];
  }
  if (offMs > Math.min(WARN_SECONDS, limitSeconds / 2) * MS_PER_SECOND) {
    return [
      warning(`this machine's clock is ${off}${precision}; beyond ${limitSeconds} s ${means}`, SET_CLOCK),
    ];
  }
  return [ok(`${off}${precision}`)];
}

/** A length of time as a person says it. */
export function describeMs(ms: number): string {
  const seconds = ms / MS_PER_SECOND;
  if (seconds < 1) return `${Math.round(ms)} ms`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 2 * 3600) return `${Math.round(seconds / 60)} minutes`;
  if (seconds < 2 * 86_400) return `${Math.round(seconds / 3600)} hours`;
  return `${Math.round(seconds / 86_400)} days`;
}
