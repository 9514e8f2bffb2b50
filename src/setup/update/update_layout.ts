/** The places that an update works on: those of the installation, below another root if one is named. */
import {
  CACHE_DIR,
  CHECK_KEY_PATH,
  CONFIG_PATH,
  EXECUTABLE_DIR,
  SETUP_LOCK_PATH,
  SETUP_STATE_DIR,
  withRoot,
} from "../layout.ts";
import type { Role } from "../role.ts";

export interface UpdateLayout {
  /** Of the executables. */
  readonly binDir: string;
  /** Of journal, record and lock. */
  readonly stateDir: string;
  readonly lockPath: string;
  /** What self-extracting executables unpack into. */
  readonly cacheDir: string;
  readonly configPath: string;
  /** The key that proves knocks. */
  readonly checkKeyPath: string;
  /** Whether this is the running system: otherwise there is nothing to start, to restart or to prove. */
  readonly isRunningSystem: boolean;
}

/** @param root "/" is the running system */
export function updateLayout(root: string): UpdateLayout {
  return {
    binDir: withRoot(root, EXECUTABLE_DIR),
    stateDir: withRoot(root, SETUP_STATE_DIR),
    lockPath: withRoot(root, SETUP_LOCK_PATH),
    cacheDir: withRoot(root, CACHE_DIR),
    configPath: withRoot(root, CONFIG_PATH),
    checkKeyPath: withRoot(root, CHECK_KEY_PATH),
    isRunningSystem: root === "/",
  };
}

/** The installed executable of a role. */
export function installedPath(layout: UpdateLayout, role: Role): string {
  return `${layout.binDir}/postern-${role}`;
}

/** The other name of the old executable while it may be needed again. */
export function keptPath(layout: UpdateLayout, role: Role): string {
  return `${layout.binDir}/.postern-${role}.old`;
}

/**
 * Where new executables wait until all are verified and proven: beside the old ones, since a rename works only
 * within one file system. The name is fixed so that the sandbox can name it; the folder above belongs to root.
 */
export function stagingDir(layout: UpdateLayout): string {
  return `${layout.binDir}/.postern-update`;
}

export function stagedPath(layout: UpdateLayout, role: Role): string {
  return `${stagingDir(layout)}/postern-${role}`;
}

/** Written before the first executable is touched, gone when the last one is settled. */
export function journalPath(layout: UpdateLayout): string {
  return `${layout.stateDir}/update.json`;
}

/** Which version was installed by the last update. */
export function recordPath(layout: UpdateLayout): string {
  return `${layout.stateDir}/release.json`;
}

/** Of the server and commander that are tried beside the running ones. */
export function trialDir(layout: UpdateLayout): string {
  return `${layout.stateDir}/update-trial`;
}
