/** Versions of releases: `MAJOR.MINOR.PATCH`, with an optional pre-release part (Semantic Versioning 2.0.0, 9-11). */

// No build part: two releases that differ only in it would have no order. Nothing a path could be bent with, either.
const VERSION =
  /^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(?:-((?:0|[1-9][0-9]{0,8}|[0-9]{0,20}[A-Za-z-][0-9A-Za-z-]{0,20})(?:\.(?:0|[1-9][0-9]{0,8}|[0-9]{0,20}[A-Za-z-][0-9A-Za-z-]{0,20})){0,8}))?$/;

/** What a version looks like, for refusals. */
export const VERSION_FORMS = "a version such as 1.2.3 or 1.2.3-rc.1";

/** Whether the text is a version of a release. */
export function isReleaseVersion(text: string): boolean {
  return VERSION.test(text);
}

/**
 * Negative if `a` is older than `b`, 0 if they are the same, positive if it is newer.
 *
 * @throws {RangeError} if one of them is no version
 */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [partsOf(a), partsOf(b)];
  for (const [index, number] of left.numbers.entries()) {
    const other = right.numbers[index] ?? 0;
    if (number !== other) return number - other;
  }
  return comparePreReleases(left.preRelease, right.preRelease);
}

interface VersionParts {
  readonly numbers: readonly number[];
  readonly preRelease: readonly string[];
}

function partsOf(text: string): VersionParts {
  const match = VERSION.exec(text);
  if (match === null) {
    throw new RangeError(`cannot compare versions: found "${text}", accepted: ${VERSION_FORMS}`);
  }
  const [, major, minor, patch, preRelease] = match;
  return {
    numbers: [Number(major), Number(minor), Number(patch)],
    preRelease: preRelease === undefined ? [] : preRelease.split("."),
  };
}

/** A release comes after its pre-releases; numbers by value and before words; a longer list after its beginning. */
function comparePreReleases(a: readonly string[], b: readonly string[]): number {
  if (a.length === 0 || b.length === 0) return b.length - a.length;
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [left, right] = [a[i], b[i]];
    if (left === undefined || right === undefined) return left === undefined ? -1 : 1;
    if (left === right) continue;
    const [leftIsNumber, rightIsNumber] = [/^[0-9]+$/.test(left), /^[0-9]+$/.test(right)];
    if (leftIsNumber !== rightIsNumber) return leftIsNumber ? -1 : 1;
    if (leftIsNumber) return Number(left) - Number(right);
    return left < right ? -1 : 1;
  }
  return 0;
}
