/**
 * The manifest of a release: what it holds, and until when that may be believed. Format: `docs/wire-formats.md`.
 *
 * It is parsed only after its signature was verified, and still strictly: the publisher's own mistake, or a
 * manifest made for something else under the same key, must not pass for a release.
 */
import * as v from "valibot";
import { Failure } from "../../system/failure.ts";
import { escapeHidden } from "../../system/visible_text.ts";
import { isReleaseVersion, VERSION_FORMS } from "./release_version.ts";

export const RELEASE_FORMAT = 1;
export const RELEASE_PRODUCT = "postern";

/** Largest manifest that is read. */
export const MAX_MANIFEST_BYTES = 1024 * 1024;
/** Largest executable that a manifest may announce. */
export const MAX_EXECUTABLE_BYTES = 1024 * 1024 * 1024;
/** How far the publisher's clock may be ahead of ours. */
const MAX_CREATED_AHEAD_MS = 60 * 60 * 1000;

// Open sets on purpose: a later release has roles and targets that this program knows nothing of, and it must still
// be able to update itself to it. What it does not know it does not install.
const ROLE = /^[a-z]{1,32}$/;
const TARGET = /^[a-z0-9_]{1,32}(?:-[a-z0-9_]{1,32}){1,3}$/;
const SHA256_HEX = /^[0-9a-f]{64}$/;
const WINDOWS_TARGET = /-windows-/;

export interface ReleaseFile {
  readonly role: string;
  readonly target: string;
  /** `executableName(role, target)` and nothing else. */
  readonly name: string;
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

export interface ReleaseManifest {
  readonly format: typeof RELEASE_FORMAT;
  readonly product: typeof RELEASE_PRODUCT;
  readonly version: string;
  /** RFC 3339, UTC. */
  readonly created: string;
  readonly expires: string;
  readonly files: readonly ReleaseFile[];
}

/** The name that the executable of a role has in a release. */
export function executableName(role: string, target: string): string {
  return `postern-${role}-${target}${WINDOWS_TARGET.test(target) ? ".exe" : ""}`;
}

/** The role and target that a file name of `dist/` stands for, or null. */
export function parseExecutableName(name: string): { role: string; target: string } | null {
  const [, role, target] = /^postern-([a-z]+)-(.+?)(?:\.exe)?$/.exec(name) ?? [];
  if (role === undefined || target === undefined || !ROLE.test(role) || !TARGET.test(target)) return null;
  return executableName(role, target) === name ? { role, target } : null;
}

const TIMESTAMP = v.pipe(v.string(), v.isoTimestamp(), v.endsWith("Z"));

const FILE = v.pipe(
  v.strictObject({
    role: v.pipe(v.string(), v.regex(ROLE)),
    target: v.pipe(v.string(), v.regex(TARGET)),
    name: v.string(),
    size: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_EXECUTABLE_BYTES)),
    sha256: v.pipe(v.string(), v.regex(SHA256_HEX)),
  }),
  // The one guard of every path that is made of a name: nothing but these letters, and only for that role and target.
  v.check(
    (file) => file.name === executableName(file.role, file.target),
    "the name of a file is not that of its role and target",
  ),
);

const MANIFEST = v.strictObject({
  format: v.literal(RELEASE_FORMAT),
  product: v.literal(RELEASE_PRODUCT),
  version: v.pipe(v.string(), v.check(isReleaseVersion, VERSION_FORMS)),
  created: TIMESTAMP,
  expires: TIMESTAMP,
  files: v.pipe(
    v.array(FILE),
    v.minLength(1),
    v.maxLength(1000),
    v.check(
      (files) => new Set(files.map((file) => file.name)).size === files.length,
      "two files of one name",
    ),
  ),
});

/**
 * Reads a manifest whose signature has been verified.
 *
 * @throws {Failure} naming the first thing that is not as `docs/wire-formats.md` has it
 */
export function parseManifest(bytes: Uint8Array): ReleaseManifest {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    throw refusal("found no JSON in UTF-8");
  }
  const result = v.safeParse(MANIFEST, document, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue);
  throw refusal(`${path === null ? "" : `${path}: `}${issue.message}`);
}

/** The bytes of a manifest as releases are made: indented JSON with a line end. */
export function formatManifest(manifest: ReleaseManifest): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(manifest, null, 1) + "\n");
}

/**
 * Refuses a manifest whose time is over, or has not come: then one of the two clocks is wrong, and an expiry that
 * is judged by a wrong clock protects from nothing.
 *
 * @throws {Failure}
 */
export function requireCurrent(manifest: ReleaseManifest, nowMs: number): void {
  const now = new Date(nowMs).toISOString();
  if (nowMs >= Date.parse(manifest.expires)) {
    throw new Failure(
      `the release ${manifest.version} expired at ${manifest.expires}, and it is ${now} now`,
      {
        hint: "check the clock of this machine; else ask the publisher for a newly signed manifest",
      },
    );
  }
  if (Date.parse(manifest.created) > nowMs + MAX_CREATED_AHEAD_MS) {
    throw new Failure(`the release was made at ${manifest.created}, and it is ${now} now`, {
      hint: "set the clock of this machine",
    });
  }
}

/**
 * The file of one role for one target.
 *
 * @throws {Failure} if the release has none
 */
export function releaseFile(manifest: ReleaseManifest, role: string, target: string): ReleaseFile {
  const name = executableName(role, target);
  const file = manifest.files.find((each) => each.name === name);
  if (file !== undefined) return file;
  const targets = [
    ...new Set(manifest.files.filter((each) => each.role === role).map((each) => each.target)),
  ];
  throw new Failure(
    `the release ${manifest.version} has no ${name}` +
      (targets.length === 0 ? "" : `, it has that role for ${targets.join(", ")}`),
  );
}

const MAX_REFUSAL_CHARS = 200;

function refusal(what: string): Failure {
  // What valibot says quotes the input.
  return new Failure(
    `the manifest is not one of a release: ${escapeHidden(what).slice(0, MAX_REFUSAL_CHARS)}`,
  );
}
