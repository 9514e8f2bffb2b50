/**
 * A reload (SIGHUP): reads configuration and keys again while packets go on being judged.
 *
 * ```
 *   read config, read keys --> drop keys that are gone, disabled or expired   (always, whatever else is wrong)
 *                          --> any problem? keep all the rest as it was, say why
 *                          --> give new keys a durable floor --> swap in the new policy, in one step
 * ```
 */
import { readTomlFile } from "../../system/toml_file.ts";
import type { Clock } from "../../system/clock.ts";
import { describeError } from "../../system/failure.ts";
import { parseServerConfig } from "./config.ts";
import type { ServerConfig } from "./config.ts";
import type { FloorsFile } from "./floors_file.ts";
import { revokedStems } from "./grants.ts";
import type { Judge, JudgeKey } from "./judge.ts";
import { readKeyFolder } from "./keys.ts";
import type { KeyFile, KeyFolder } from "./keys.ts";
import { formatListenAddress } from "./listen_address.ts";
import { buildPolicy, idleKeyWarnings } from "./policy.ts";

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
  const revoked = source === undefined ? new Set<string>() : revokedStems(source.table, nowMs);
  const lost = judge.policy.keys.filter((key) => isTakenAway(key, revoked, folder, nowMs));
  if (lost.length > 0) {
    judge.setPolicy({ ...judge.policy, keys: judge.policy.keys.filter((key) => !lost.includes(key)) });
  }
  const dropped = lost.map((key) => key.stem);

  if (problems.length === 0 && config && folder) {
    await attempt(async () => {
      // The folder may have been renamed in the file; what counts until a restart is the one we may read.
      const policy = buildPolicy({ ...config, configDir: started.configDir }, folder.keys);
      await floorsFile.seed(policy.keys.map((key) => key.key.id), clock.wallNs());
      judge.setPolicy(policy);
    }, problems);
  }
  return {
    problems,
    dropped,
    warnings: config && folder ? [...config.warnings, ...idleKeyWarnings(config, folder.keys, nowMs)] : [],
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

/** Only what can be seen counts: a folder or file that could not be read says nothing about a key. */
function isTakenAway(
  key: JudgeKey,
  revoked: ReadonlySet<string>,
  folder: KeyFolder | undefined,
  nowMs: number,
): boolean {
  const holders = (folder?.keys ?? []).filter((file) => isSameKey(file, key)).map((file) => file.stem);
  const isGone = folder !== undefined && holders.length === 0 && !folder.unreadableStems.has(key.stem);
  const isRevoked = [key.stem, ...holders].some((stem) => revoked.has(stem));
  return isGone || isRevoked || (key.notAfterMs !== null && nowMs > key.notAfterMs);
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
