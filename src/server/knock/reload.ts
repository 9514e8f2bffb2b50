/**
 * A reload (SIGHUP): reads configuration and keys again while packets go on being judged.
 *
 * ```
 *   read config, read keys --> drop keys that are gone, disabled or expired,
 *                              narrow the others to what they may still do    (always, whatever else is wrong)
 *                          --> any problem? keep all the rest as it was, say why
 *                          --> give new keys a durable floor --> swap in the new policy, in one step
 * ```
 *
 * The first step needs a file that can be parsed: of one with a syntax error nobody can tell what it takes away, and
 * only a key whose file is gone is dropped then.
 */
import { readTomlFile } from "../../system/toml_file.ts";
import type { Clock } from "../../system/clock.ts";
import { describeError } from "../../system/failure.ts";
import { parseServerConfig } from "./config.ts";
import type { ServerConfig } from "./config.ts";
import { seedFirstFloors } from "./first_floors.ts";
import type { FloorsFile } from "./floors_file.ts";
import type { Judge, JudgeKey } from "./judge.ts";
import { readKeyFolder } from "./keys.ts";
import type { KeyFile, KeyFolder } from "./keys.ts";
import { formatListenAddress } from "./listen_address.ts";
import { buildPolicy, idleKeyWarnings } from "./policy.ts";
import { readRestrictions, restrict } from "./restrictions.ts";
import type { Restriction } from "./restrictions.ts";

export interface ReloadContext {
  /** The configuration the server was started with: its folders and address stay in use. */
  readonly started: ServerConfig;
  readonly judge: Judge;
  readonly floorsFile: FloorsFile;
  readonly clock: Clock;
}

export interface ReloadResult {
  /** Each thing that was wrong; empty if the new configuration is in use. */
  readonly problems: readonly string[];
  /** Stems of the keys that were in force and are not any more because they were taken away. */
  readonly dropped: readonly string[];
  /** Stems of the keys that may do less than before, or not as long, although the reload failed. */
  readonly narrowed: readonly string[];
  readonly warnings: readonly string[];
  /** Settings that were changed but only count after a restart; undefined if the file could not be read. */
  readonly restartNeeded: readonly string[] | undefined;
}

/** Reloads; never throws for anything that stands in the files. */
export async function reload(context: ReloadContext): Promise<ReloadResult> {
  const { started, judge, floorsFile, clock } = context;
  const problems: string[] = [];
  const source = await attempt(() => readTomlFile(started.configPath), problems);
  const config = source && await attempt(() => parseServerConfig(source), problems);
  const folder = await attempt(() => readKeyFolder(started.configDir), problems);
  problems.push(...(folder?.problems ?? []).map(describeError));

  const nowMs = clock.wallMs();
  const restrictions = source === undefined ? new Map<string, never>() : readRestrictions(source);
  const before = judge.policy.keys;
  const left = before.map((key) => leave(key, restrictions, folder, nowMs));
  judge.setPolicy({ ...judge.policy, keys: left.filter((key) => key !== null) });
  const stemsWhere = (test: (left: JudgeKey | null, key: JudgeKey) => boolean): string[] =>
    before.filter((key, i) => test(left[i] ?? null, key)).map(({ stem }) => stem);
  const dropped = stemsWhere((left) => left === null);
  const narrowed = stemsWhere((left, key) => left !== null && left !== key);

  if (problems.length === 0 && config && folder) {
    await attempt(async () => {
      // The folder may have been renamed in the file; what counts until a restart is the one we may read.
      const policy = buildPolicy({ ...config, configDir: started.configDir }, folder.keys);
      await seedFirstFloors(floorsFile, policy.keys, clock);
      judge.setPolicy(policy);
    }, problems);
  }
  return {
    problems,
    dropped,
    narrowed: problems.length === 0 ? [] : narrowed,
    warnings: config && folder
      ? [...config.warnings, ...folder.warnings, ...idleKeyWarnings(config, folder.keys, nowMs)]
      : [],
    restartNeeded: config && changedSettings(started, config),
  };
}

async function attempt<T>(action: () => T | Promise<T>, problems: string[]): Promise<T | undefined> {
  try {
    return await action();
  } catch (error) {
    problems.push(describeError(error));
    return undefined;
  }
}

/**
 * What is left of a key, null if nothing is. Only what can be seen counts: a folder or file that could not be read
 * says nothing about a key.
 */
function leave(
  key: JudgeKey,
  restrictions: ReadonlyMap<string, Restriction | "revoked">,
  folder: KeyFolder | undefined,
  nowMs: number,
): JudgeKey | null {
  const holders = (folder?.keys ?? []).filter((file) => isSameKey(file, key)).map((file) => file.stem);
  const isGone = folder !== undefined && holders.length === 0 && !folder.unreadableStems.has(key.stem);
  if (isGone) return null;
  let left = key;
  for (const stem of new Set([key.stem, ...holders])) {
    const restriction = restrictions.get(stem);
    if (restriction === "revoked") return null;
    if (restriction !== undefined) left = restrict(left, restriction);
  }
  return left.notAfterMs !== null && nowMs > left.notAfterMs ? null : left;
}

/** By content: a file that holds another secret now does not hold this key any more. */
function isSameKey(file: KeyFile, key: JudgeKey): boolean {
  return file.key.id === key.key.id && file.key.secret.every((byte, i) => byte === key.key.secret[i]);
}

function changedSettings(started: ServerConfig, config: ServerConfig): string[] {
  const settings: [string, (config: ServerConfig) => string | null][] = [
    ["address", ({ address }) => formatListenAddress(address)],
    ["config_dir", ({ configDir }) => configDir],
    ["blocklist_dir", ({ blocklistDir }) => blocklistDir],
    ["socket_dir", ({ socketDir }) => socketDir],
    ["status_file", ({ statusPath }) => statusPath],
  ];
  return settings.filter(([, read]) => read(started) !== read(config)).map(([name]) => name);
}
