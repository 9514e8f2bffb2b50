/** What an update needs of the machine it runs on, besides files: replaceable by tests. */
import { type ProofOptions, proveKnock } from "../proof.ts";
import { Failure } from "../../system/failure.ts";
import { COMMANDER_UNIT } from "../layout.ts";
import type { Role } from "../role.ts";
import { isSelfExtracting } from "../self_extracting.ts";
import { lastWords, runProgram } from "./child_program.ts";
import type { DownloadProgress } from "./download.ts";
import { FETCH_LIMITS, type FetchLimits } from "./release_fetch.ts";
import { isReleaseVersion } from "./release_version.ts";
import { noServices, type Services, systemServices } from "./services.ts";
import { proveServices } from "./service_proof.ts";
import { type SwapDisk, systemDisk } from "./swap_disk.ts";
import { tryBeside } from "./trial.ts";
import { removeUnusedCache } from "./unused_cache.ts";
import { trialDir, type UpdateLayout } from "./update_layout.ts";

export interface UpdateMachine {
  readonly disk: SwapDisk;
  readonly services: Services;
  readonly fetchLimits: FetchLimits;
  /** As in the names of executables. */
  readonly target: string;
  readonly uid: number;
  /** Version of this program. */
  readonly version: string;
  nowMs(): number;
  /** Asks an executable; null if it does not tell. */
  versionOf(path: string): Promise<string | null>;
  /** Has a verified executable unpack what it carries, where the services find it. */
  unpack(path: string): Promise<void>;
  /**
   * Tries a server and a commander beside the ones that run; says what of it could not be tried.
   *
   * @throws {Failure} if they do not carry a knock through
   */
  proveBeside(executables: TriedExecutables): Promise<readonly string[]>;
  /**
   * Proves a knock on the installed services.
   *
   * @param restartedAtMs when the server was told to restart; null: it was not
   */
  proveInstalled(restartedAtMs: number | null): Promise<void>;
  /** Removes what executables unpacked that are not installed any more. */
  removeUnusedCache(): Promise<void>;
  progress(progress: DownloadProgress): void;
}

export interface TriedExecutables {
  readonly serverPath: string;
  readonly commanderPath: string;
}

const PROGRAM_TIMEOUT_MS = 60_000;
const TRIAL_TIMEOUT_MS = 30_000;
const START_TIMEOUT_MS = 30_000;
const PROOF_TIMEOUT_MS = 15_000;

/** The machine as it is. */
export async function systemMachine(
  layout: UpdateLayout,
  options: {
    readonly version: string;
    readonly progress: (progress: DownloadProgress) => void;
    readonly prove?: (options: ProofOptions) => Promise<void>;
  },
): Promise<UpdateMachine> {
  const prove = options.prove ?? proveKnock;
  return {
    disk: systemDisk,
    services: layout.isRunningSystem ? await systemServices() : noServices,
    fetchLimits: FETCH_LIMITS,
    target: Deno.build.target,
    uid: Deno.uid() ?? 0,
    version: options.version,
    nowMs: Date.now,
    versionOf: (path) => layout.isRunningSystem ? askVersion(path) : Promise.resolve(null),
    unpack,
    proveBeside: async (executables) => await tryOut(executables, layout, prove),
    proveInstalled: (restartedAtMs) =>
      proveServices({
        proof: {
          configPath: layout.configPath,
          keyPath: layout.checkKeyPath,
          timeoutMs: PROOF_TIMEOUT_MS,
          commanderUnit: COMMANDER_UNIT,
        },
        restartedAtMs,
        startTimeoutMs: START_TIMEOUT_MS,
        prove,
      }),
    removeUnusedCache: () => removeUnusedCache(layout),
    progress: options.progress,
  };
}

async function askVersion(path: string): Promise<string | null> {
  try {
    const { code, stdout } = await runProgram(path, ["--version"], PROGRAM_TIMEOUT_MS);
    const version = /^postern (\S+)/.exec(stdout)?.[1];
    return code === 0 && version !== undefined && isReleaseVersion(version) ? version : null;
  } catch {
    return null; // A broken executable is a reason to update, not to refuse to.
  }
}

async function unpack(path: string): Promise<void> {
  if (!(await isSelfExtracting(path))) return;
  const { code, stderr } = await runProgram(path, ["--unpack"], PROGRAM_TIMEOUT_MS);
  if (code !== 0) throw new Failure(`could not unpack ${path}: ${lastWords(stderr)}`);
}

/** Both on the configuration that is there, which a new version might refuse; then by a knock. */
async function tryOut(
  { serverPath, commanderPath }: TriedExecutables,
  layout: UpdateLayout,
  prove: (options: ProofOptions) => Promise<void>,
): Promise<string[]> {
  for (const [role, path] of [["server", serverPath], ["commander", commanderPath]] as [Role, string][]) {
    const { code, stderr } = await runProgram(
      path,
      ["--check", "--config", layout.configPath],
      PROGRAM_TIMEOUT_MS,
    );
    if (code !== 0) {
      throw new Failure(`the new ${role} does not take ${layout.configPath}: ${lastWords(stderr)}`);
    }
  }
  for (const path of [serverPath, commanderPath]) {
    // What `deno compile` made has the permissions of the standard layout baked in, so it starts nowhere else.
    if (!(await isSelfExtracting(path))) {
      return ["knock on the new executables before the swap: they run in their final place only"];
    }
  }
  await tryBeside({ serverPath, commanderPath, dir: trialDir(layout), prove, timeoutMs: TRIAL_TIMEOUT_MS });
  return [];
}
