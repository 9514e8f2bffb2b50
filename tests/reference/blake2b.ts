/**
 * BLAKE2b once more, slow and obvious, with BigInt, written from RFC 7693 alone. The tests hold the library that
 * we ship against it.
 */
const MASK = (1n << 64n) - 1n;
const BLOCK_BYTES = 128;
const ROUNDS = 12;

/** RFC 7693 section 2.6: the first 64 bits of the fractional parts of the square roots of the first 8 primes. */
const IV = [2n, 3n, 5n, 7n, 11n, 13n, 17n, 19n].map((prime) => squareRoot(prime << 128n) & MASK);

/** RFC 7693 section 2.7; rounds 10 and 11 use rows 0 and 1 again. */
const SIGMA = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
  [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
  [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
  [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
  [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

/** The columns, then the diagonals (RFC 7693 section 3.2). */
const MIXED = [
  [0, 4, 8, 12],
  [1, 5, 9, 13],
  [2, 6, 10, 14],
  [3, 7, 11, 15],
  [0, 5, 10, 15],
  [1, 6, 11, 12],
  [2, 7, 8, 13],
  [3, 4, 9, 14],
];

/** A digest of 1 to 64 bytes, keyed if the key has any of its up to 64 bytes (RFC 7693 section 3.3). */
export function referenceBlake2b(
  input: Uint8Array,
  digestBytes: number,
  key: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const keyBlock = new Uint8Array(key.length > 0 ? BLOCK_BYTES : 0);
  keyBlock.set(key);
  const data = Uint8Array.from([...keyBlock, ...input]);
  let state = [...IV];
  state[0] = at(state, 0) ^ 0x01010000n ^ BigInt(key.length) << 8n ^ BigInt(digestBytes);
  const blocks = Math.max(1, Math.ceil(data.length / BLOCK_BYTES));
  for (let i = 0; i < blocks; i++) {
    const block = new Uint8Array(BLOCK_BYTES);
    block.set(data.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
    const counted = BigInt(Math.min((i + 1) * BLOCK_BYTES, data.length));
    state = compress(state, block, counted, i === blocks - 1);
  }
  return Uint8Array.from(
    { length: digestBytes },
    (_, i) => Number(at(state, i >> 3) >> BigInt(8 * (i & 7)) & 0xffn),
  );
}

function compress(state: bigint[], block: Uint8Array, counted: bigint, last: boolean): bigint[] {
  const view = new DataView(block.buffer);
  const words = Array.from({ length: 16 }, (_, i) => view.getBigUint64(8 * i, true));
  const v = [...state, ...IV];
  v[12] = at(v, 12) ^ counted; // inputs of 2^64 bytes and more do not occur here
  v[14] = last ? at(v, 14) ^ MASK : at(v, 14);
  for (let round = 0; round < ROUNDS; round++) {
    const order = SIGMA[round % SIGMA.length] ?? [];
    for (const [i, [a = 0, b = 0, c = 0, d = 0]] of MIXED.entries()) {
      mix(v, a, b, c, d, at(words, order[2 * i] ?? 0), at(words, order[2 * i + 1] ?? 0));
    }
  }
  return state.map((word, i) => word ^ at(v, i) ^ at(v, i + 8));
}

/** RFC 7693 section 3.1, the function G. */
function mix(v: bigint[], a: number, b: number, c: number, d: number, x: bigint, y: bigint): void {
  v[a] = at(v, a) + at(v, b) + x & MASK;
  v[d] = rotateRight(at(v, d) ^ at(v, a), 32n);
  v[c] = at(v, c) + at(v, d) & MASK;
  v[b] = rotateRight(at(v, b) ^ at(v, c), 24n);
  v[a] = at(v, a) + at(v, b) + y & MASK;
  v[d] = rotateRight(at(v, d) ^ at(v, a), 16n);
  v[c] = at(v, c) + at(v, d) & MASK;
  v[b] = rotateRight(at(v, b) ^ at(v, c), 63n);
}

function rotateRight(word: bigint, bits: bigint): bigint {
  return (word >> bits | word << 64n - bits) & MASK;
}

function at(words: readonly bigint[], i: number): bigint {
  const word = words[i];
  if (word === undefined) {
    throw new RangeError(`no word ${i}`);
  }
  return word;
}

function squareRoot(value: bigint): bigint {
  let low = 0n;
  let high = value;
  while (low < high) {
    const middle = low + high + 1n >> 1n;
    if (middle * middle <= value) {
      low = middle;
    } else {
      high = middle - 1n;
    }
  }
  return low;
}
