/** Which names of an offer would be one on some file system, where the second would take the place of the first. */
import { TransferError } from "./errors.ts";
import { foldedName } from "./name_rules.ts";
import { shownPath } from "./target_path.ts";

/**
 * Most folders that no entry names and a path goes through. Each is held in memory: without a limit, one path of 4,096
 * bytes would be good for a hundred of them, and 100,000 paths for ten million.
 */
const MAX_UNNAMED_FOLDERS = 100_000;

/** One name in one folder. */
interface Place {
  /** As it was first said. */
  readonly spelling: string;
  /** `unnamed`: a folder that is none of the entries so far. */
  kind: "file" | "folder" | "unnamed";
  /** By folded name; null while nothing is in it. */
  inside: Map<string, Place> | null;
}

/** All names of one offer. */
export class NameCollisions {
  readonly #top = new Map<string, Place>();
  #unnamed = 0;

  /**
   * Adds an entry.
   *
   * @param names as `targetPath` gives them
   * @throws {TransferError} `collision` if it was added before, if some file system takes it for another one, or if a
   * file is where another entry needs a folder; `limit`
   */
  add(names: readonly string[], kind: "file" | "folder"): void {
    let inside = this.#top;
    for (const [at, name] of names.entries()) {
      const isLast = at === names.length - 1;
      const place = this.#place(inside, name, names, at);
      if (!isLast) {
        if (place.kind === "file") throw collision(names, at, "a file and a folder");
        inside = place.inside ??= new Map();
      } else if (place.kind === "unnamed" && (kind === "folder" || place.inside === null)) {
        place.kind = kind;
      } else {
        throw collision(names, at, place.kind === kind ? "two entries" : "a file and a folder");
      }
    }
  }

  /** The place of a name, a new one unless the name is known in this spelling. */
  #place(inside: Map<string, Place>, name: string, names: readonly string[], at: number): Place {
    const folded = foldedName(name);
    const known = inside.get(folded);
    if (known === undefined) {
      const isLast = at === names.length - 1;
      if (!isLast && ++this.#unnamed > MAX_UNNAMED_FOLDERS) {
        throw new TransferError(
          "limit",
          `cannot accept the offer: found more than ${MAX_UNNAMED_FOLDERS} folders that are no entries of their own`,
        );
      }
      const place: Place = { spelling: name, kind: "unnamed", inside: null };
      inside.set(folded, place);
      return place;
    }
    if (known.spelling !== name) {
      const other = [...names.slice(0, at), known.spelling].join("/");
      throw collision(names, at, `the same name as ${shownPath(other)} to some file systems`);
    }
    return known;
  }
}

function collision(names: readonly string[], at: number, found: string): TransferError {
  const path = shownPath(names.slice(0, at + 1).join("/"));
  return new TransferError(
    "collision",
    `cannot accept the offer: found ${path} to be ${found}, accepted are names that differ everywhere`,
  );
}
