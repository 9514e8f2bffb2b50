/** What systemd is told: enable, reload, start; and that the running services outlive a failure. */
import { Failure } from "../system/failure.ts";
import { COMMANDER_UNIT, CONFIG_PATH, SERVER_UNIT, SYSCTL_PATH } from "./layout.ts";
import { tryBeside } from "./executable_steps.ts";
import { findEntry } from "./manifest.ts";
import { type Findings, readServerConfig } from "./preflight.ts";
import { JOURNALCTL, SYSCTL, SYSTEMCTL } from "./programs.ts";
import type { Step } from "./steps.ts";
import { succeeded, type Undertaking } from "./undertaking.ts";

const UNITS: readonly string[] = [COMMANDER_UNIT, SERVER_UNIT];
const START_TIMEOUT_MS = 30_000;
const POLL_MS = 100;
/** Of the times in a status file, which another process takes. */
const CLOCK_GRAIN_MS = 10;

/** What earlier steps changed that services must hear of. */
export interface Changes {
  keys: boolean;
  /** The new executables have carried a knock, beside those that run. */
  tried: boolean;
}

export function enableStep(work: Undertaking): Step {
  const rootArgs = work.root === "/" ? [] : [`--root=${work.root}`];
  async function disabled(): Promise<string[]> {
    const found: string[] = [];
    for (const unit of UNITS) {
      const { stdout } = await work.machine.ask(SYSTEMCTL, [...rootArgs, "is-enabled", unit]);
      if (stdout.trim() !== "enabled") found.push(unit);
    }
    return found;
  }
  return {
    name: "enable",
    why: "both start with the machine",
    plan: async () => (await disabled()).map((unit) => `enable ${unit}`),
    async apply(): Promise<void> {
      const units = await disabled();
      await work.rewrite((manifest) => ({
        ...manifest,
        enabled: [...new Set([...manifest.enabled, ...units])],
      }));
      await work.run(
        `enabled ${units.join(", ")}`,
        SYSTEMCTL,
        // systemd is told of it by the reload that follows.
        [...rootArgs, "--no-reload", "enable", ...units],
        async () => {
          await work.machine.run(SYSTEMCTL, [...rootArgs, "--no-reload", "disable", ...units]);
        },
      );
    },
  };
}

/** The size of the receive buffer counts for sockets that are made afterwards. */
export function applySysctlStep(work: Undertaking): Step {
  let isApplied = false;
  return {
    name: "apply receive buffer",
    why: "it counts for a server that is started after it",
    async plan(): Promise<string[]> {
      // Whether it is in force cannot be asked: /proc is closed to this program.
      if (isApplied) return [];
      const isWritten = await work.machine.stat(SYSCTL_PATH) !== null;
      return isWritten && work.root === "/" && findEntry(work.manifest, SYSCTL_PATH)?.source === "applied"
        ? []
        : [`apply ${SYSCTL_PATH}`];
    },
    async apply(): Promise<void> {
      isApplied = true;
      // Refused in a container, whose host decides: knocks work all the same.
      await work.machine.run(SYSCTL, [SYSCTL_PATH]);
      const entry = findEntry(work.manifest, SYSCTL_PATH);
      if (entry !== undefined) await work.record([{ ...entry, source: "applied" }]);
    },
  };
}

export function reloadManagerStep(work: Undertaking): Step {
  async function stale(): Promise<string[]> {
    const found: string[] = [];
    for (const unit of UNITS) {
      const { stdout } = await work.machine.ask(SYSTEMCTL, [
        "show",
        "--property=NeedDaemonReload,LoadState",
        unit,
      ]);
      if (!stdout.includes("LoadState=loaded") || stdout.includes("NeedDaemonReload=yes")) found.push(unit);
    }
    return found;
  }
  return {
    name: "reload systemd",
    why: "it reads units when it is told to",
    plan: async () => (await stale()).length === 0 ? [] : ["systemctl daemon-reload"],
    async apply(): Promise<void> {
      await reloadManager(work);
    },
  };
}

export async function reloadManager(work: Undertaking): Promise<void> {
  const args = ["daemon-reload"];
  succeeded(SYSTEMCTL, args, await work.machine.run(SYSTEMCTL, args));
}

/**
 * Starts both, or restarts those whose unit or executable is another now. What is new is tried beside what runs
 * first; and if anything fails afterwards, the old files are put back and what ran is started again.
 */
export function startStep(work: Undertaking, findings: Findings, changes: Changes): Step {
  const { machine } = work;
  async function inactive(): Promise<string[]> {
    const found: string[] = [];
    for (const unit of UNITS) {
      const { stdout } = await machine.ask(SYSTEMCTL, ["is-active", unit]);
      if (stdout.trim() !== "active") found.push(unit);
    }
    return found;
  }
  function outdated(): string[] {
    return findings.active.filter((unit) => work.manifest.restart.includes(unit));
  }
  function mustReload(): boolean {
    return changes.keys && findings.active.includes(SERVER_UNIT) && !outdated().includes(SERVER_UNIT);
  }
  return {
    name: "start",
    why: "what runs already goes on until the new one has shown, beside it, that a knock works",
    plan: async () => [
      ...(await inactive()).map((unit) => `start ${unit}`),
      ...outdated().map((unit) => `restart ${unit}`),
      ...(mustReload() ? [`reload ${SERVER_UNIT} for the new keys`] : []),
    ],
    async apply(): Promise<void> {
      const toStart = await inactive();
      const toRestart = outdated();
      const startedAtMs = Date.now();
      if (toRestart.length > 0) {
        // What an earlier setup put in place that was killed before it came here has not been tried by this one.
        if (!changes.tried) await tryBeside(work);
        work.onUndoLast(`restarted ${toRestart.join(", ")}`, () => start(work, "restart", toRestart));
        await startOrTell(work, "restart", toRestart);
      }
      if (toStart.length > 0) {
        work.onUndo(`started ${toStart.join(", ")}`, async () => {
          await start(work, "stop", toStart);
          await machine.run(SYSTEMCTL, ["reset-failed", ...toStart]);
        });
        await startOrTell(work, "start", toStart);
      }
      if (mustReload()) {
        work.onUndoLast("the server's keys", () => start(work, "reload", [SERVER_UNIT]));
        await start(work, "reload", [SERVER_UNIT]);
      }
      await requireReady(work, [...toStart, ...toRestart], startedAtMs);
    },
  };
}

async function start(
  work: Undertaking,
  verb: "start" | "stop" | "restart" | "reload",
  units: readonly string[],
): Promise<void> {
  const args = [verb, ...units];
  succeeded(SYSTEMCTL, args, await work.machine.run(SYSTEMCTL, args));
}

/** The same for a start that must succeed: a service that ends at once is named with its last words, if systemd saw it. */
async function startOrTell(
  work: Undertaking,
  verb: "start" | "restart",
  units: readonly string[],
): Promise<void> {
  try {
    await start(work, verb, units);
  } catch (error) {
    await requireActive(work, units);
    throw error;
  }
}

/** @throws {Failure} naming a service that has ended, with its last words */
async function requireActive(work: Undertaking, units: readonly string[]): Promise<void> {
  for (const unit of units) {
    const { stdout } = await work.machine.ask(SYSTEMCTL, ["show", "--property=ActiveState,SubState", unit]);
    const isActive = /ActiveState=(active|activating|reloading)/.test(stdout);
    if (isActive && !stdout.includes("SubState=auto-restart")) continue;
    throw new Failure(`could not start ${unit}: ${await lastWords(work, unit)}`, {
      hint: `journalctl -u ${unit} -n 20`,
    });
  }
}

/** Waits until the server writes its counts; a service that ends instead is named with its last words. */
async function requireReady(work: Undertaking, units: readonly string[], startedAtMs: number): Promise<void> {
  const deadlineMs = Date.now() + START_TIMEOUT_MS;
  while (units.length > 0) {
    work.throwIfInterrupted();
    await requireActive(work, units);
    if (!units.includes(SERVER_UNIT)) return;
    const statusPath = (await readServerConfig(work.machine, CONFIG_PATH))?.statusPath ?? null;
    const counts = statusPath === null ? null : await work.machine.statusCounts(statusPath);
    if (counts !== null && counts.startedAtMs >= startedAtMs - CLOCK_GRAIN_MS) return;
    if (Date.now() >= deadlineMs) {
      throw new Failure(
        `could not start ${SERVER_UNIT}: it wrote no ${statusPath ?? "status file"} within 30 seconds`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** The last thing a service said. */
export async function lastWords(work: Undertaking, unit: string): Promise<string> {
  const { stdout } = await work.machine.ask(JOURNALCTL, [
    ...["--unit", unit, "--lines", "20", "--output", "cat", "--no-pager", "--quiet"],
  ]);
  const lines = stdout.trim().split("\n").filter((line) => line !== "");
  return lines.findLast((line) => /ERROR|error:/.test(line)) ?? lines.at(-1) ?? "it said nothing";
}
