/** A few open files, however many are read and by however many sessions. */

/** An open file, or one that is being opened. */
interface Handle {
  readonly opening: Promise<Deno.FsFile>;
  /** The last act that was begun with it; the next one waits for it, as all share the position in the file. */
  turn: Promise<unknown>;
  users: number;
  /** It is closed as soon as nobody uses it. */
  isDropped: boolean;
}

/** Opens files when they are needed, and closes the one that was not used for longest when there are too many. */
export class OpenFiles {
  readonly #maxOpen: number;
  readonly #open: (file: number) => Promise<Deno.FsFile>;
  /** The one that was used last is last. */
  readonly #handles = new Map<number, Handle>();

  /** Makes one without open files. */
  constructor(maxOpen: number, open: (file: number) => Promise<Deno.FsFile>) {
    this.#maxOpen = maxOpen;
    this.#open = open;
  }

  /** Does `act` with the open file, while nobody else does anything with it. */
  async use<T>(file: number, act: (handle: Deno.FsFile) => Promise<T>): Promise<T> {
    const handle = this.#handle(file);
    handle.users++;
    try {
      const acted = Promise.all([handle.opening, handle.turn]).then(([opened]) => act(opened));
      handle.turn = acted.catch(() => {});
      return await acted;
    } finally {
      handle.users--;
      closeIfUnused(handle);
    }
  }

  /** Closes the file unless somebody uses it just now; it is opened again when it is needed. */
  release(file: number): void {
    if (this.#handles.get(file)?.users === 0) this.#drop(file);
  }

  /** Closes every file as soon as its last use has ended. */
  close(): void {
    for (const file of this.#handles.keys()) this.#drop(file);
  }

  #handle(file: number): Handle {
    const known = this.#handles.get(file);
    this.#handles.delete(file);
    const handle = known ?? this.#newHandle(file);
    this.#handles.set(file, handle);
    for (const oldest of this.#handles.keys()) {
      if (this.#handles.size <= this.#maxOpen) break;
      this.#drop(oldest);
    }
    return handle;
  }

  #newHandle(file: number): Handle {
    const opening = this.#open(file);
    const handle: Handle = { opening, turn: Promise.resolve(), users: 0, isDropped: false };
    // What could not be opened is tried again by the next who wants it.
    opening.catch(() => this.#handles.get(file) === handle && this.#handles.delete(file));
    return handle;
  }

  #drop(file: number): void {
    const handle = this.#handles.get(file);
    if (handle === undefined) return;
    this.#handles.delete(file);
    handle.isDropped = true;
    closeIfUnused(handle);
  }
}

function closeIfUnused({ opening, users, isDropped }: Handle): void {
  if (isDropped && users === 0) opening.then((opened) => opened.close(), () => {});
}
