/** What one path of a command line means. */
import { shownPath } from "../../protocol/transfer/target_path.ts";
import { Failure } from "../../system/failure.ts";
import { absolutePath, nameOf } from "../../system/path.ts";
import { hasPermission } from "../../system/permissions.ts";
import type { SharedRoot } from "./file_source_list.ts";
import { endNotPermitted } from "./permitted_end.ts";
import { systemReason } from "./walk_findings.ts";

const STREAM_HINT = "to share what comes out of it, pipe it: cat PATH | postern client share - --name NAME";

/** A path that can be shared, and what lies there. */
export interface FoundRoot {
  /** Its name and place. */
  readonly root: SharedRoot;
  /** Of what a link leads to. */
  readonly info: Deno.FileInfo;
}

/**
 * Looks at a path; a link is followed, and keeps its own name.
 *
 * @param typed relative ones count from the current folder
 * @throws {Failure} if it is neither file nor folder, has no name, or cannot be looked at
 */
export function findRoot(typed: string): FoundRoot {
  if (typed === "") throw refuseRoot(typed, "it is empty");
  const path = absolutePath(typed);
  const name = nameOf(path);
  if (name === "") {
    throw refuseRoot(typed, "the root has no name", "name the folders in it that you want to share");
  }
  // Asked before: else the runtime would ask the user.
  if (!hasPermission({ name: "read", path })) {
    throw refuseRoot(typed, "this program may not read it", permissionHint(path));
  }
  const found = lookAtRoot(typed, path);
  const end = endNotPermitted(path, ["read"]);
  if (end !== null) {
    throw refuseRoot(
      typed,
      `it leads to ${end}, which this program may not read`,
      `name ${end} instead, or ${permissionHint(end)}`,
    );
  }
  return { root: { name, path, isLink: found.isLink }, info: found.info };
}

function lookAtRoot(
  typed: string,
  path: string,
): { readonly isLink: boolean; readonly info: Deno.FileInfo } {
  try {
    const isLink = Deno.lstatSync(path).isSymlink;
    const info = Deno.statSync(path);
    if (info.isFile || info.isDirectory) return { isLink, info };
  } catch (error) {
    // What the runtime denies all the same is a file of the system, which no flag for a path opens.
    throw refuseRoot(
      typed,
      reasonOf(error, typed),
      error instanceof Deno.errors.NotCapable ? STREAM_HINT : undefined,
    );
  }
  throw refuseRoot(typed, "it is a pipe, socket or device", STREAM_HINT);
}

/** The failure for a path that cannot be shared. */
export function refuseRoot(typed: string, found: string, hint?: string): Failure {
  return new Failure(`cannot share ${shownPath(typed)}: ${found}; accepted are files and folders`, { hint });
}

function reasonOf(error: unknown, typed: string): string {
  if (!(error instanceof Deno.errors.NotFound)) return systemReason(error);
  return typed.includes("\ufffd") ? "its name is not UTF-8" : "there is nothing of that name";
}

function permissionHint(path: string): string {
  return `add --allow-read=${path} to deno run`;
}
