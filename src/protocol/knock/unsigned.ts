/** Numbers that must fit a fixed number of bytes, checked before they are cut to it. */

/**
 * Refuses a number that does not fit. A bigint put into too few bytes loses its upper bits without a word, and a
 * counter would then be written as another, lower one.
 *
 * @param action what could not be done, such as "encode counter"
 * @throws {RangeError} or another error with one message, naming what was found and what is accepted
 */
export function requireUnsigned(
  action: string,
  value: bigint,
  bytes: number,
  ErrorType: new (message: string) => Error = RangeError,
): void {
  if (value !== BigInt.asUintN(bytes * 8, value)) {
    throw new ErrorType(
      `cannot ${action}: found ${value}, accepted is an unsigned number of ${bytes} bytes`,
    );
  }
}
