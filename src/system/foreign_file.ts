/** The commonest reason why a file cannot be opened: somebody once ran the program as root. */

const OWNER_MAY_USE = 0o600;

/**
 * What to do about a file that could not be opened because it belongs to another user; undefined for any other
 * trouble. Our own user is not asked for, which would take a permission: we were denied what the owner is allowed,
 * so we are not the owner.
 *
 * @param user whose file it should be
 */
export async function foreignFileHint(
  path: string,
  error: unknown,
  user: string,
): Promise<string | undefined> {
  if (!(error instanceof Deno.errors.PermissionDenied)) return undefined;
  try {
    const { uid, mode } = await Deno.stat(path);
    if (mode === null || (mode & OWNER_MAY_USE) !== OWNER_MAY_USE) return undefined;
    return `it belongs to another user (uid ${uid}), perhaps since a run as root: chown ${user} ${path}`;
  } catch {
    return undefined; // The first failure is the one worth reporting.
  }
}
