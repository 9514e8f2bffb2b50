/** Memory that a program does not want to keep. */
import { isBody } from "./body_mark.ts";
import { sharedBodyPool } from "./body_pool.ts";

/**
 * Gives memory back, to be used for bodies that arrive later: all views of the array's buffer are empty (length 0)
 * from now on. For outputs and items of the codec "view": a program that has many long ones and is done with each
 * before the next saves the time that new memory costs. Nothing needs to be given back.
 *
 * An array of one's own can be given as well, if it is all there is of its buffer. A small `Buffer` of `node:buffer` is
 * not: it shares its buffer with others. What is still being sent somewhere, as the input of a call for example,
 * stays as it is.
 *
 * @param array any one of the arrays in an output gives all of them back: they lie in one buffer
 * @throws {TypeError} if the memory is not the array's alone: shared, resizable, of WebAssembly, or a part of a buffer
 *   that is neither an output's nor an item's, such as the input of a handler that runs
 */
export function giveBack(array: ArrayBufferView): void {
  const { buffer } = array;
  if (!(buffer instanceof ArrayBuffer) || buffer.resizable) {
    throw new TypeError(
      "cannot give memory back: found a shared or resizable buffer, accepted is an ArrayBuffer",
    );
  }
  if (array.byteLength !== buffer.byteLength && !isBody(buffer)) {
    throw new TypeError(
      "cannot give memory back: found a part of a buffer, accepted is the whole of one, an output or an item",
    );
  }
  sharedBodyPool.give(buffer);
}
