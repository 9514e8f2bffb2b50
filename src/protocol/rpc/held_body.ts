/** Bodies that outlive the receiving of the next frame, for codecs whose values point into them. */
import { markBody } from "./body_mark.ts";
import type { BodyPool } from "./body_pool.ts";
import { paddedBytes } from "./frame.ts";

/** A body that stays as it is until it is released or kept. Its buffer holds nothing else but zeros. */
export interface HeldBody {
  /** The bytes; none once it was released. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** Makes all views of it empty, at once, and uses the memory again. Nothing if it was released or kept before. */
  release(): void;
  /**
   * Makes it the program's own for ever.
   *
   * @throws {TypeError} if it was released
   */
  keep(): Uint8Array<ArrayBuffer>;
}

const NOTHING = new Uint8Array(0);
const EMPTY: HeldBody = { body: NOTHING, release: () => {}, keep: () => NOTHING };

/** Holds a body that lies at the beginning of a block of the pool. */
export function holdBlock(body: Uint8Array<ArrayBuffer>, pool: BodyPool): HeldBody {
  return new BlockBody(body, pool);
}

/** Holds a copy of a body that lies somewhere else. */
export function heldCopy(body: Uint8Array<ArrayBuffer>, pool: BodyPool): HeldBody {
  if (body.length === 0) return EMPTY;
  const block = pool.take(paddedBytes(body.length));
  block.set(body);
  block.fill(0, body.length);
  return new BlockBody(block.subarray(0, body.length), pool);
}

class BlockBody implements HeldBody {
  readonly body: Uint8Array<ArrayBuffer>;
  /** Where it goes back to; null if it does not any more. */
  #pool: BodyPool | null;
  #isReleased = false;

  constructor(body: Uint8Array<ArrayBuffer>, pool: BodyPool) {
    this.body = body;
    this.#pool = pool;
  }

  release(): void {
    if (this.#pool === null) return;
    this.#isReleased = true;
    this.#pool.give(this.body.buffer);
    this.#pool = null;
  }

  keep(): Uint8Array<ArrayBuffer> {
    if (this.#isReleased) {
      throw new TypeError("cannot keep a body: it was released, accepted is one that is held");
    }
    markBody(this.body.buffer);
    this.#pool = null;
    return this.body;
  }
}
