/**
 * Bytes that tell their place in a stream: whatever is lost, doubled or moved shows at once. They repeat after a
 * prime number of bytes, which no buffer size divides.
 */
const PERIOD_BYTES = 65_521;
/** Distance in the period between the streams of neighbouring seeds. */
const SEED_STEP = 7_919;

const period = makePeriod();

function makePeriod(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(PERIOD_BYTES);
  let state = 1;
  for (let at = 0; at < PERIOD_BYTES; at++) {
    // Numerical Recipes' linear congruential generator; its high byte is good enough for this.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

function placeOf(seed: number, offset: number): number {
  return (seed * SEED_STEP + offset) % PERIOD_BYTES;
}

/** The byte at one place of the stream of a seed. */
export function patternByte(seed: number, offset: number): number {
  return period[placeOf(seed, offset)] ?? 0;
}

/** Fills `target` with the bytes of the stream of a seed from `offset` on. */
export function fillPattern(target: Uint8Array, seed: number, offset: number): void {
  let place = placeOf(seed, offset);
  for (let at = 0; at < target.length;) {
    const count = Math.min(PERIOD_BYTES - place, target.length - at);
    target.set(period.subarray(place, place + count), at);
    at += count;
    place = 0;
  }
}

/** Fresh bytes of the stream of a seed. */
export function patternBytes(length: number, seed: number, offset = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  fillPattern(bytes, seed, offset);
  return bytes;
}

/** Index of the first byte that is not that of the stream; -1 if all are. */
export function mismatchAt(bytes: Uint8Array, seed: number, offset: number): number {
  let place = placeOf(seed, offset);
  for (let at = 0; at < bytes.length; at++) {
    if (bytes[at] !== period[place]) return at;
    if (++place === PERIOD_BYTES) place = 0;
  }
  return -1;
}
