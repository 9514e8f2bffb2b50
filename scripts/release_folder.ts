/** Writes a release into the folder that is served: the version's own first, `latest` last. */
import { systemFiles, writeFileDurably } from "../src/system/durable_file.ts";
import { Failure } from "../src/system/failure.ts";
import { hashFile } from "../src/setup/update/digest.ts";
import {
  formatManifest,
  parseExecutableName,
  parseManifest,
  RELEASE_FORMAT,
  RELEASE_PRODUCT,
  type ReleaseFile,
  type ReleaseManifest,
} from "../src/setup/update/release_manifest.ts";
import { compareVersions, isReleaseVersion, VERSION_FORMS } from "../src/setup/update/release_version.ts";
import { signManifest } from "./release_key.ts";

export interface ReleaseInput {
  readonly distDir: string;
  readonly outDir: string;
  readonly version: string;
  readonly createdMs: number;
  readonly expiresMs: number;
  readonly key: CryptoKey;
}

const PUBLIC_MODE = 0o644;
const EXECUTABLE_MODE = 0o755;

/**
 * Makes a release of every executable in the folder; other files in it are left out.
 *
 * @throws {Failure} if there is none, or the version has been released with other files
 */
export async function makeRelease(input: ReleaseInput): Promise<ReleaseManifest> {
  const { distDir, outDir, version } = input;
  if (!isReleaseVersion(version)) {
    throw new Failure(`could not release "${version}", accepted is ${VERSION_FORMS}`);
  }
  const files = await listExecutables(distDir);
  const manifest: ReleaseManifest = {
    format: RELEASE_FORMAT,
    product: RELEASE_PRODUCT,
    version,
    created: new Date(input.createdMs).toISOString(),
    expires: new Date(input.expiresMs).toISOString(),
    files,
  };
  const bytes = formatManifest(manifest);
  // What the updater would refuse must not leave the house.
  parseManifest(bytes);
  const signature = await signManifest(bytes, input.key);

  const versionDir = `${outDir}/${version}`;
  await Deno.mkdir(versionDir, { recursive: true });
  for (const file of files) {
    await copyExecutable(`${distDir}/${file.name}`, `${versionDir}/${file.name}`, file);
  }
  await systemFiles.syncFolder(versionDir);
  const newest = await latestVersion(outDir);
  // A repair of an older line is no update for whoever has the newer one.
  const isLatest = newest === null || compareVersions(version, newest) >= 0;
  for (const dir of [versionDir, ...isLatest ? [`${outDir}/latest`] : []]) {
    await Deno.mkdir(dir, { recursive: true });
    await systemFiles.syncFolder(outDir);
    // Who reads between the two finds a signature that does not fit, and tries again later.
    await writeFileDurably(`${dir}/manifest.json`, bytes, { mode: PUBLIC_MODE });
    await writeFileDurably(`${dir}/manifest.json.sig`, signature, { mode: PUBLIC_MODE });
  }
  return manifest;
}

/** The version that `latest` leads to; null before the first release. */
export async function latestVersion(outDir: string): Promise<string | null> {
  try {
    return parseManifest(await Deno.readFile(`${outDir}/latest/manifest.json`)).version;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function listExecutables(distDir: string): Promise<ReleaseFile[]> {
  const files: ReleaseFile[] = [];
  for await (const { name, isFile } of Deno.readDir(distDir)) {
    const parsed = isFile ? parseExecutableName(name) : null;
    if (parsed === null) continue;
    const { sha256, sizeBytes } = await hashFile(`${distDir}/${name}`);
    files.push({ role: parsed.role, target: parsed.target, name, size: sizeBytes, sha256 });
  }
  if (files.length === 0) {
    throw new Failure(`could not release: found no postern-<role>-<target> in ${distDir}`, {
      hint: "deno task compile",
    });
  }
  return files.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** What was released once never changes: somebody may be downloading it, by a manifest that was signed before. */
async function copyExecutable(from: string, to: string, file: ReleaseFile): Promise<void> {
  if (await Deno.lstat(to).then(() => true, () => false)) {
    if ((await hashFile(to)).sha256 === file.sha256) return;
    throw new Failure(`could not release: ${to} was released already, with another content`, {
      hint: "give the release a version of its own: --version V",
    });
  }
  const temporary = `${to}.tmp`;
  await Deno.copyFile(from, temporary);
  using copy = await Deno.open(temporary, { read: true, write: true });
  await copy.sync();
  if ((await hashFile(temporary)).sha256 !== file.sha256) {
    throw new Failure(`${from} changed while it was copied`);
  }
  await Deno.chmod(temporary, EXECUTABLE_MODE);
  await Deno.rename(temporary, to);
}
