/**
 * Whose the config folder is, for the case that it cannot be used: after one `sudo postern client send` with the
 * same HOME its files are root's. Loaded only then.
 */
import { Failure } from "../../system/failure.ts";

const MODE_BITS = 0o7777;
const ROOT_ID = 0;

/** `error` with a hint about owners if the system denied access; any other error as it is. */
export function explainDenied(error: unknown, folder: string): unknown {
  if (!(error instanceof Failure) || !isDenied(error)) return error;
  const owners = [folder, `${folder}/client.lock`, `${folder}/counter`]
    .map(describeOwner)
    .filter((each) => each !== null);
  // The user is named by a substitution: this process has no permission to ask who it runs as.
  const hint = owners.length > 0
    ? `${owners.join(", ")}; to make all of it yours: sudo chown -R "$(id -un)" ${folder}`
    : `${
      closestOwner(folder)
    }; to get the folder: sudo install -d -m 700 -o "$(id -un)" ${folder}; or name ` +
      "another one in POSTERN_CONF_DIR";
  return new Failure(error.message, { cause: error.cause, hint });
}

/** Denied by the system. What the runtime denies is another error, and is asked about before. */
function isDenied(error: unknown): boolean {
  if (error instanceof Deno.errors.PermissionDenied) return true;
  return error instanceof Error && error.cause !== undefined && isDenied(error.cause);
}

/** The owner of the nearest folder above that can be looked at. */
function closestOwner(path: string): string {
  for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
    const owner = describeOwner(path.slice(0, end));
    if (owner !== null) return owner;
  }
  return describeOwner("/") ?? "no folder above can be looked at";
}

/** @returns null for what is not there or cannot be looked at */
function describeOwner(path: string): string | null {
  try {
    const { uid, mode } = Deno.statSync(path);
    if (uid === null || mode === null) return null;
    const owner = uid === ROOT_ID ? "root" : `user id ${uid}`;
    return `${path} belongs to ${owner} (mode ${(mode & MODE_BITS).toString(8).padStart(4, "0")})`;
  } catch {
    return null; // a hint must not fail where the error itself is told
  }
}
