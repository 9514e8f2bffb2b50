/** What is read and said before a server binds: the part that `--check` does alone. */
import type { Clock } from "../../system/clock.ts";
import { describeError } from "../../system/failure.ts";
import type { Log } from "../../system/log.ts";
import type { ServerConfig } from "./config.ts";
import { requireCredibleClock } from "./first_floors.ts";
import { FloorsFile } from "./floors_file.ts";
import type { JudgePolicy } from "./judge.ts";
import { readKeyFolder } from "./keys.ts";
import { buildPolicy, idleKeyWarnings } from "./policy.ts";
import { lookAtStateFolder } from "./state_folder.ts";

const NS_PER_SECOND = 1_000_000_000n;

/**
 * Whether a server could start with this configuration: reads what it would read, writes and binds nothing.
 *
 * @throws {Failure} naming what would stop a start
 */
export async function checkServer(
  config: ServerConfig,
  parts: { readonly log: Log; readonly clock: Clock; readonly statusPath?: string },
): Promise<void> {
  const { log, clock } = parts;
  for (const warning of config.warnings) log.warn(warning);
  const policy = await readPolicy(config, log, clock);
  const { warnings } = await lookAtStateFolder(config, parts.statusPath ?? config.statusPath);
  for (const warning of warnings) log.warn(warning);
  const floorsFile = await FloorsFile.load(config.floorsPath);
  requireCredibleClock(floorsFile, policy.keys, clock);
  warnOfFloorsAhead(policy, floorsFile, log, clock);
  log.info("configuration is good", { config: config.configPath, keys: policy.keys.length });
}

/** @throws {Failure} for the first problem of the key folder; the others are logged */
export async function readPolicy(config: ServerConfig, log: Log, clock: Clock): Promise<JudgePolicy> {
  const folder = await readKeyFolder(config.configDir);
  const [first, ...others] = folder.problems;
  for (const problem of others) log.error(describeError(problem));
  if (first !== undefined) throw first;
  const policy = buildPolicy(config, folder.keys);
  for (const warning of folder.warnings) log.warn(warning);
  for (const warning of idleKeyWarnings(config, folder.keys, clock.wallMs())) log.warn(warning);
  return policy;
}

/**
 * A server needs no rights of root, and whoever finds a way into one that has them owns the machine. Told by the owner of
 * the file that this process has just written, since asking who it is would take a permission.
 */
export async function warnOfRoot(floorsPath: string, log: Log): Promise<void> {
  if ((await Deno.stat(floorsPath)).uid !== 0) return;
  log.warn("the server runs as root, and needs no rights of root: run it as the user postern");
}

/** A floor in the future, left by a clock that was once wrong, refuses every packet until the clock is there. */
export function warnOfFloorsAhead(policy: JudgePolicy, floorsFile: FloorsFile, log: Log, clock: Clock): void {
  const limitNs = clock.wallNs() + policy.maxClockSkewNs;
  for (const { stem, key } of policy.keys) {
    const floor = floorsFile.floors.get(key.id);
    if (floor === undefined || floor <= limitNs) continue;
    const ahead = (floor - clock.wallNs()) / NS_PER_SECOND;
    log.warn("the floor of a key is ahead of the clock: its packets are refused until then", {
      key: stem,
      ahead_seconds: ahead,
    });
  }
}
