/** Bytes of several kinds, for what depends on how well they can be compressed. */

const WORDS =
  "postern opens a small hidden door in a wall and reaches machines that look closed from outside while nobody notices"
    .split(" ");
const RANDOM_BYTES_AT_ONCE = 65_536;

/** Words in no order, which become less than half. */
export function textBytes(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const encoder = new TextEncoder();
  let state = seed;
  for (let at = 0; at < length;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const word = encoder.encode(`${WORDS[state % WORDS.length] ?? ""}${state % 1009} `).subarray(
      0,
      length - at,
    );
    bytes.set(word, at);
    at += word.length;
  }
  return bytes;
}

/** Bytes that cannot be made smaller. */
export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += RANDOM_BYTES_AT_ONCE) {
    crypto.getRandomValues(bytes.subarray(at, at + RANDOM_BYTES_AT_ONCE));
  }
  return bytes;
}

/** Bytes of which some never come: they look as if they could be made smaller, and hardly can. */
export function oddBytes(length: number): Uint8Array<ArrayBuffer> {
  return randomBytes(length).map((byte) => byte % 220);
}
