/**
 * commands.toml: what may be run. Whoever can write it is root, so the file is refused when others may; and what it
 * holds (paths, tokens) appears in no message: names of commands and fields only.
 */
import { commandHash } from "../../protocol/knock/command_hash.ts";
import { folderOf } from "../../system/path.ts";
import { Failure } from "../../system/failure.ts";
import { parseTomlBytes } from "../../system/toml_file.ts";
import { type CommandSpec, parseCommands } from "./command_spec.ts";
import { folderOwnership, foreignWriter, ownershipOf, requireOwnWriters } from "./ownership.ts";

export interface CommandsFile {
  readonly commands: readonly CommandSpec[];
  readonly warnings: readonly string[];
}

/**
 * Reads, checks and judges the owner of a commands file.
 *
 * @param self uid that may own the file beside root
 * @throws {Failure} naming the file and, where there is one, line, command and field
 */
export async function readCommandsFile(
  path: string,
  self: number,
  hash: (name: string) => bigint = commandHash,
): Promise<CommandsFile> {
  const bytes = await readTrusted(path, self);
  const commands = parseCommands(parseTomlBytes(path, bytes, { secret: true }), hash);
  const warnings: string[] = [];
  if (commands.length === 0) warnings.push(`${path}: no commands, so every knock is ignored`);
  const writer = foreignWriter(await folderOwnership(folderOf(path)), self, { stickyIsFine: true });
  if (writer !== null) {
    warnings.push(
      `${folderOf(path)}: others may replace files in this folder (${writer}), also ${path}; ` +
        "accepted is a folder only root may write",
    );
  }
  return { commands, warnings };
}

/** Opens once, then judges and reads the same file: between two opens it could be exchanged. */
async function readTrusted(path: string, self: number): Promise<Uint8Array> {
  try {
    using file = await Deno.open(path, { read: true });
    const info = await file.stat();
    if (!info.isFile) throw new Failure(`could not read ${path}: found no regular file`);
    requireOwnWriters(path, ownershipOf(info), self);
    return await new Response(file.readable).bytes();
  } catch (error) {
    if (error instanceof Failure) throw error;
    if (error instanceof Deno.errors.NotFound) {
      throw new Failure(`could not read ${path}: there is no such file`, {
        cause: error,
        hint: "create it with a [commands] table, or name another file with --commands",
      });
    }
    throw new Failure(`could not read ${path}`, {
      cause: error,
      hint: error instanceof Deno.errors.NotCapable
        ? "name it by its own path: what is opened by way of a symbolic link, the runtime holds for another file"
        : error instanceof Deno.errors.PermissionDenied
        ? "run the commander as root, whose file it is; or chown it to the commander's user"
        : undefined,
    });
  }
}
