/** An installation of small shell scripts in a folder, and releases to update it from. */
import { makeRelease } from "../../../scripts/release_folder.ts";
import type { Services } from "../../../src/setup/update/services.ts";
import type { ReleaseManifest } from "../../../src/setup/update/release_manifest.ts";
import { parseReleaseLocation } from "../../../src/setup/update/release_location.ts";
import { type SwapDisk, systemDisk } from "../../../src/setup/update/swap_disk.ts";
import { update, type UpdateOptions, type UpdateReport } from "../../../src/setup/update/update.ts";
import type { UpdateLayout } from "../../../src/setup/update/update_layout.ts";
import type { TriedExecutables, UpdateMachine } from "../../../src/setup/update/update_machine.ts";
import { INSTALLED_ROLES, type Role } from "../../../src/setup/role.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";

export const TARGET = "x86_64-unknown-linux-gnu";
export const OLD_VERSION = "1.0.0";
export const NEW_VERSION = "1.1.0";
export const NOW_MS = Date.parse("2030-01-01T00:00:00Z");
const DAY_MS = 24 * 60 * 60 * 1000;

/** An executable that tells its version, as the real ones do. */
export function script(role: string, version: string): string {
  return `#!/bin/sh\n# ${role}\necho "postern ${version} (0123456)"\n`;
}

export interface KeyPair {
  readonly privateKey: CryptoKey;
  readonly publicKey: Uint8Array<ArrayBuffer>;
}

export async function makeKeyPair(): Promise<KeyPair> {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]) as CryptoKeyPair;
  const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  return { privateKey: pair.privateKey, publicKey };
}

export function layoutIn(dir: string): UpdateLayout {
  return {
    binDir: `${dir}/bin`,
    stateDir: `${dir}/state`,
    lockPath: `${dir}/state/lock`,
    cacheDir: `${dir}/cache`,
    configPath: `${dir}/etc/config.toml`,
    checkKeyPath: `${dir}/etc/postern-check.key`,
    isRunningSystem: true,
  };
}

/** The services as a test sees them: which run, and what they run. */
export class FakeServices implements Services {
  readonly #binDir: string;
  /** Those that run, by what they run. */
  readonly runs = new Map<string, string>();
  restarts = 0;
  /** Fails this many of the next restarts. */
  failures = 0;

  constructor(binDir: string) {
    this.#binDir = binDir;
  }

  running(units: readonly string[]): Promise<string[]> {
    return Promise.resolve(units.filter((unit) => this.runs.has(unit)));
  }

  async restart(units: readonly string[]): Promise<void> {
    this.restarts++;
    if (this.failures > 0) {
      this.failures--;
      throw new Error("the service did not start (by the test)");
    }
    for (const unit of units) {
      this.runs.set(unit, await Deno.readTextFile(`${this.#binDir}/${unit.replace(".service", "")}`));
    }
  }
}

export class UpdateLab implements AsyncDisposable {
  readonly #folder: TempFolder;
  readonly keys: KeyPair;
  readonly layout: UpdateLayout;
  readonly services: FakeServices;
  readonly tried: TriedExecutables[] = [];
  /** What the proofs do; by default they succeed. */
  proveBeside: () => Promise<readonly string[]> = () => Promise.resolve([]);
  proveInstalled: () => Promise<void> = () => Promise.resolve();
  proofsAfter = 0;

  private constructor(folder: TempFolder, keys: KeyPair) {
    this.#folder = folder;
    this.keys = keys;
    this.layout = layoutIn(folder.path);
    this.services = new FakeServices(this.layout.binDir);
  }

  /** @param roles that are installed, in the old version */
  static async make(roles: readonly Role[] = INSTALLED_ROLES): Promise<UpdateLab> {
    await using undo = new AsyncDisposableStack();
    const lab = new UpdateLab(undo.use(await TempFolder.make("update")), await makeKeyPair());
    for (const name of ["bin", "etc", "dist", "releases"]) await Deno.mkdir(`${lab.dir}/${name}`);
    await Deno.writeTextFile(lab.layout.configPath, "");
    await Deno.writeTextFile(lab.layout.checkKeyPath, "");
    for (const role of roles) {
      await Deno.writeTextFile(lab.path(role), script(role, OLD_VERSION));
      await Deno.chmod(lab.path(role), 0o755);
    }
    for (const role of ["server", "commander"] as const) {
      if (roles.includes(role)) lab.services.runs.set(`postern-${role}.service`, script(role, OLD_VERSION));
    }
    undo.move();
    return lab;
  }

  get dir(): string {
    return this.#folder.path;
  }

  get releasesDir(): string {
    return `${this.dir}/releases`;
  }

  /** The installed executable of a role. */
  path(role: Role): string {
    return `${this.layout.binDir}/postern-${role}`;
  }

  /** Makes a release of all roles in the folder of releases. */
  async release(
    version: string = NEW_VERSION,
    options: { key?: CryptoKey; roles?: readonly string[]; expiresMs?: number; createdMs?: number } = {},
  ): Promise<ReleaseManifest> {
    const distDir = `${this.dir}/dist`;
    for (const role of options.roles ?? INSTALLED_ROLES) {
      await Deno.writeTextFile(`${distDir}/postern-${role}-${TARGET}`, script(role, version));
    }
    const createdMs = options.createdMs ?? NOW_MS - DAY_MS;
    const manifest = await makeRelease({
      distDir,
      outDir: this.releasesDir,
      version,
      createdMs,
      expiresMs: options.expiresMs ?? NOW_MS + DAY_MS,
      key: options.key ?? this.keys.privateKey,
    });
    await Deno.remove(distDir, { recursive: true });
    await Deno.mkdir(distDir);
    return manifest;
  }

  machine(disk: SwapDisk = systemDisk): UpdateMachine {
    return {
      disk,
      services: this.services,
      fetchLimits: { silenceTimeoutMs: 300, fileTimeoutMs: 5000 },
      target: TARGET,
      uid: Deno.uid() ?? 0,
      version: OLD_VERSION,
      nowMs: () => NOW_MS,
      versionOf: async (path) => {
        const { stdout } = await new Deno.Command(path, { args: ["--version"] }).output();
        return /^postern (\S+)/.exec(new TextDecoder().decode(stdout))?.[1] ?? null;
      },
      unpack: () => Promise.resolve(),
      proveBeside: (executables) => {
        this.tried.push(executables);
        return this.proveBeside();
      },
      proveInstalled: () => {
        this.proofsAfter++;
        return this.proveInstalled();
      },
      removeUnusedCache: () => Promise.resolve(),
      progress: () => {},
    };
  }

  options(changes: Partial<UpdateOptions> & { readonly url?: string } = {}): UpdateOptions {
    const { url = `file://${this.releasesDir}`, ...others } = changes;
    return {
      from: parseReleaseLocation(url),
      version: undefined,
      role: undefined,
      publicKey: this.keys.publicKey,
      force: false,
      skipProof: false,
      dryRun: false,
      ...others,
    };
  }

  update(
    changes: Partial<UpdateOptions> & { readonly url?: string } = {},
    machine: UpdateMachine = this.machine(),
  ): Promise<UpdateReport> {
    return update(this.options(changes), this.layout, machine);
  }

  /** Everything in the folder of executables: name and content. */
  async installed(): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    for await (const entry of Deno.readDir(this.layout.binDir)) {
      const path = `${this.layout.binDir}/${entry.name}`;
      found[entry.name] = entry.isFile ? await Deno.readTextFile(path) : "a folder";
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** What `installed()` gives for the given roles in one version. */
export function allAt(version: string, roles: readonly Role[] = INSTALLED_ROLES): Record<string, string> {
  return Object.fromEntries(roles.map((role) => [`postern-${role}`, script(role, version)]));
}
