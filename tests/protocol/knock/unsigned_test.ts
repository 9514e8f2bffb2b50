import assert from "node:assert/strict";
import { requireUnsigned } from "../../../src/protocol/knock/unsigned.ts";

class CodecError extends Error {}

Deno.test("requireUnsigned() takes what fits the bytes, and says what does not", () => {
  for (
    const [value, bytes] of [[0n, 8], [2n ** 64n - 1n, 8], [2n ** 64n, 16], [2n ** 128n - 1n, 16]] as const
  ) {
    requireUnsigned("write it", value, bytes);
  }
  for (const [value, bytes] of [[-1n, 8], [2n ** 64n, 8], [-1n, 16], [2n ** 128n, 16]] as const) {
    const message = `cannot write it: found ${value}, accepted is an unsigned number of ${bytes} bytes`;
    assert.throws(() => requireUnsigned("write it", value, bytes), (error) => {
      return error instanceof RangeError && error.message === message;
    });
    assert.throws(() => requireUnsigned("write it", value, bytes, CodecError), (error) => {
      return error instanceof CodecError && error.message === message;
    });
  }
});
