/** What is in the target folder before anything is written there. */
import { TransferError } from "../../protocol/transfer/errors.ts";
import { shownPath } from "../../protocol/transfer/target_path.ts";
import { joinPath } from "../../system/path.ts";
import { lookAt, refuseLink } from "./placing.ts";

/** As many names are repeated in a message. */
const MAX_SHOWN_NAMES = 20;

/** Looks at the places of many entries, at every folder on the way once. */
export class TargetSurvey {
  readonly #target: string;
  /** What each path of a folder leads to. */
  readonly #folders = new Map<string, "there" | "missing" | "blocked">();
  /** Paths, as an offer has them, of what is there and may not be replaced. */
  readonly #existing = new Set<string>();

  /** Makes one for a target folder. */
  constructor(target: string) {
    this.#target = target;
  }

  /**
   * What is at the place of an entry; null if nothing is. A file that is where a folder on the way has to be is noted
   * as existing.
   *
   * @param names as `targetPath` gives them
   * @throws {TransferError} `exists` if it, or a folder on the way, is a symbolic link
   */
  look(names: readonly string[]): Deno.FileInfo | null {
    if (this.#wayTo(names.slice(0, -1)) !== "there") return null;
    return this.#lookAt(names);
  }

  /** Notes that something is there that may not be replaced. */
  note(path: string): void {
    this.#existing.add(path);
  }

  /**
   * Says what was noted.
   *
   * @throws {TransferError} `exists`, with the names, the first 20 of them
   */
  requireNothingNoted(): void {
    const count = this.#existing.size;
    if (count === 0) return;
    const shown = [...this.#existing.values().take(MAX_SHOWN_NAMES)].map(shownPath).join(", ");
    const more = count > MAX_SHOWN_NAMES ? ` and ${count - MAX_SHOWN_NAMES} more` : "";
    const found = count === 1
      ? "a file of that name is there already"
      : `${count} of the names are there already`;
    throw new TransferError(
      "exists",
      `cannot receive into ${this.#target}: ${found}, and not replaced: ${shown}${more}`,
    );
  }

  #wayTo(names: readonly string[]): "there" | "missing" | "blocked" {
    if (names.length === 0) return "there";
    const path = names.join("/");
    const known = this.#folders.get(path);
    if (known !== undefined) return known;
    const above = this.#wayTo(names.slice(0, -1));
    const found = above === "there" ? this.#folderAt(names) : above;
    this.#folders.set(path, found);
    return found;
  }

  #folderAt(names: readonly string[]): "there" | "missing" | "blocked" {
    const there = this.#lookAt(names);
    if (there === null) return "missing";
    if (there.isDirectory) return "there";
    this.note(names.join("/"));
    return "blocked";
  }

  #lookAt(names: readonly string[]): Deno.FileInfo | null {
    const path = joinPath(this.#target, ...names);
    const there = lookAt(path);
    refuseLink(path, there);
    return there;
  }
}
