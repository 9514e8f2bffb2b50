/** What a walk comes across that stops it, or that the user should know. */
import { DEFAULT_LIMITS } from "../../protocol/transfer/limits.ts";
import { foldedName, nameProblem, utf8Bytes } from "../../protocol/transfer/name_rules.ts";
import { MAX_PATH_BYTES, MAX_PATH_DEPTH, shownPath } from "../../protocol/transfer/target_path.ts";
import { Failure } from "../../system/failure.ts";

/** Why something is left out: a symbolic link, neither file nor folder, or a folder that postern works in. */
export type LeftOut = "link" | "device" | "own";

const NOTICES: Readonly<Record<LeftOut, readonly [one: string, many: string]>> = {
  link: ["symbolic link", "symbolic links"],
  device: ["pipe, socket or device", "pipes, sockets and devices"],
  own: ["folder that postern itself works in", "folders that postern itself works in"],
};
/** As many are named; of the others, how many there are. */
const MAX_NAMED = 10;
const RENAME_HINT =
  "rename them, or send them as one file: tar -cf - PATH | postern client share - --name NAME.tar --relay HOST:PORT";

/** Things of one kind: the first by name, all by number. */
class Naming {
  #count = 0;
  readonly #named: string[] = [];

  get count(): number {
    return this.#count;
  }

  add(path: string, remark: string): void {
    if (++this.#count <= MAX_NAMED) this.#named.push(`${shownPath(path)}${remark && ` (${remark})`}`);
  }

  toString(): string {
    const more = this.#count - this.#named.length;
    return this.#named.join(", ") + (more > 0 ? ` and ${more} more` : "");
  }
}

/** All that one walk finds. */
export class WalkFindings {
  readonly #unreadable = new Naming();
  readonly #refused = new Naming();
  readonly #leftOut: Readonly<Record<LeftOut, Naming>> = {
    link: new Naming(),
    device: new Naming(),
    own: new Naming(),
  };
  /** Of each folder that is being walked: its names, by what they are to a file system that tells them apart least. */
  readonly #names = new Map<string, Map<string, string>>();
  #lacksPermission = false;
  #entries = 0;

  /** Does `act`; what the system or the sandbox denies is noted, and gives null. */
  tryToRead<T>(path: string, act: () => T): T | null {
    try {
      return act();
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) this.#lacksPermission = true;
      this.#unreadable.add(path, systemReason(error));
      return null;
    }
  }

  /**
   * Judges a name as the other side will.
   *
   * @param folder path of the entry that it is in; empty for a root
   * @param depth how many names its path has
   */
  addName(folder: string, name: string, depth: number): void {
    this.#entries++;
    const path = folder === "" ? name : `${folder}/${name}`;
    const problem = nameProblem(name) ?? pathProblem(path, depth) ?? this.#collision(folder, name);
    if (problem !== null) this.#refused.add(path, problem);
  }

  /** Notes a name that is not UTF-8: the runtime shows it with substitutes, and cannot open it. */
  addUnspeakable(path: string): void {
    this.#refused.add(path, "a name that is not UTF-8");
  }

  /** No more names of this folder will come. */
  leaveFolder(folder: string): void {
    this.#names.delete(folder);
  }

  /** Notes what is not sent. */
  leaveOut(reason: LeftOut, path: string): void {
    this.#leftOut[reason].add(path, "");
  }

  /**
   * Ends the walk if something that was found cannot be shared.
   *
   * @throws {Failure}
   */
  throwIfAny(): void {
    if (this.#unreadable.count > 0) {
      throw new Failure(`cannot read all that is to be shared: found ${this.#unreadable}`, {
        hint: this.#lacksPermission
          ? "add --allow-read=PATH to deno run"
          : "let this user read them, or share the others by their names",
      });
    }
    if (this.#refused.count > 0) {
      throw new Failure(
        `cannot share names that the other side would refuse: found ${this.#refused}, ` +
          "accepted are names that are safe on every system",
        { hint: RENAME_HINT },
      );
    }
  }

  /** A line each. */
  notices(): readonly string[] {
    const lines: string[] = [];
    for (const [reason, [one, many]] of Object.entries(NOTICES)) {
      const found = this.#leftOut[reason as LeftOut];
      if (found.count > 0) lines.push(`left out ${found.count} ${found.count === 1 ? one : many}: ${found}`);
    }
    if (this.#entries > DEFAULT_LIMITS.maxEntries) {
      lines.push(
        `${this.#entries} files and folders are more than a receiver accepts unless it is told --max-files ${this.#entries}`,
      );
    }
    return lines;
  }

  #collision(folder: string, name: string): string | null {
    const names = this.#names.get(folder) ?? new Map<string, string>();
    this.#names.set(folder, names);
    const folded = foldedName(name);
    const other = names.get(folded);
    if (other === undefined) names.set(folded, name);
    return other === undefined ? null : `the same name as ${shownPath(other)} to some file systems`;
  }
}

/** What the system says, without the path, which the message has already in the form in which the user knows it. */
export function systemReason(error: unknown): string {
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  if (error instanceof Deno.errors.NotCapable) return "no permission of the sandbox";
  if (error instanceof Deno.errors.NotFound) return "gone";
  return error instanceof Error ? error.message.replace(/ \(os error \d+\).*$/s, "") : String(error);
}

function pathProblem(path: string, depth: number): string | null {
  if (depth > MAX_PATH_DEPTH) return `more than ${MAX_PATH_DEPTH} folders deep`;
  const isTooLong = path.length > MAX_PATH_BYTES / 3 && utf8Bytes(path) > MAX_PATH_BYTES;
  return isTooLong ? `a path of more than ${MAX_PATH_BYTES} bytes` : null;
}
