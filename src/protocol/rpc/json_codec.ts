/**
 * The codec "json": what `JSON.stringify` makes, as UTF-8. `undefined` at the top has a form of its own, the empty
 * body, because methods without input or output are common.
 */
import { type Codec, CodecError, MAX_DEPTH } from "./codec.ts";
import { readText } from "./utf8.ts";

const REFUSED_KEY = "__proto__";
/** How `JSON.stringify` begins a typed array: as an object of its elements. A `Map`, or no bytes at all, becomes `{}`. */
const BYTES_AS_JSON = '{"0":', EMPTY_OBJECT = "{}";
const QUOTE = 0x22, BACKSLASH = 0x5c, BRACE_OPEN = 0x7b, BRACE_CLOSE = 0x7d;
/** What a brace has and the bracket beside it has not. */
const BRACE_BIT = 0x20;

/** The codec "json". */
export const json: Codec = { id: "json", views: false, encode, decode };

/** Gives the codec "json". */
export function jsonCodec(): Codec {
  return json;
}

function encode(value: unknown): string {
  if (value === undefined) return "";
  const text = stringify(value);
  checkDepth(text, "write");
  // Only a key is followed by a colon; the same letters inside of a text are cleared of suspicion by parsing.
  if (text.includes(`${REFUSED_KEY}":`)) refuseKeyIn(JSON.parse(text), "write");
  if (text.includes(BYTES_AS_JSON) || text.includes(EMPTY_OBJECT)) refuseLossIn(value);
  return text;
}

function stringify(value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) { // a bigint, a circle, depth without end, or a `toJSON` that fails
    throw new CodecError("cannot write a value as JSON: it has no form there", { cause });
  }
  if (text === undefined) {
    throw new CodecError(`cannot write a value as JSON: found a ${typeof value}`);
  }
  return text;
}

function decode(body: Uint8Array<ArrayBuffer>): unknown {
  if (body.length === 0) return undefined;
  let text: string;
  try {
    text = readText(body);
  } catch (cause) {
    throw new CodecError("cannot read JSON: found bytes that are no UTF-8", { cause });
  }
  checkDepth(text, "read");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch { // without a cause: the runtime's own error repeats a piece of the body
    throw new CodecError("cannot read JSON: found something else");
  }
  // A key may also be spelled with escapes.
  if (text.includes(REFUSED_KEY) || text.includes("\\u00")) refuseKeyIn(value, "read");
  return value;
}

/**
 * Refuses the key that means the prototype wherever the value is copied key by key. A reviver of `JSON.parse` would
 * see it, too, and takes ten seconds for the keys that fit into one body.
 */
function refuseKeyIn(value: unknown, act: "read" | "write"): void {
  if (typeof value !== "object" || value === null) return;
  if (Object.hasOwn(value, REFUSED_KEY)) {
    throw new CodecError(`cannot ${act} JSON: found a key "${REFUSED_KEY}"`);
  }
  for (const inner of Object.values(value)) refuseKeyIn(inner, act);
}

/** Refuses typed arrays, maps and sets: the other side would get plain objects, and nobody would be told. */
function refuseLossIn(value: unknown): void {
  if (typeof value !== "object" || value === null || "toJSON" in value) return;
  const isBytes = ArrayBuffer.isView(value) || value instanceof ArrayBuffer;
  if (isBytes || value instanceof Map || value instanceof Set) {
    const found = `found a ${value.constructor.name}, which would arrive as a plain object`;
    const hint = isBytes ? "; messagePackCodec() and viewCodec() take a Uint8Array" : "";
    throw new CodecError(`cannot write a value as JSON: ${found}${hint}`);
  }
  for (const inner of Object.values(value)) refuseLossIn(inner);
}

/** `JSON.parse` itself goes down without end, and so would whoever walks through the value. */
function checkDepth(text: string, act: "read" | "write"): void {
  if (hasFewBrackets(text)) return;
  const { length } = text;
  let depth = 0;
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === QUOTE) {
      i++;
      for (let inside = text.charCodeAt(i); inside !== QUOTE && i < length; inside = text.charCodeAt(i)) {
        i += inside === BACKSLASH ? 2 : 1;
      }
    } else if ((unit | BRACE_BIT) === BRACE_OPEN) {
      if (++depth > MAX_DEPTH) {
        throw new CodecError(`cannot ${act} JSON: found a depth of more than ${MAX_DEPTH}`);
      }
    } else if ((unit | BRACE_BIT) === BRACE_CLOSE) depth--;
  }
}

/** Whether there are too few to be too deep, wherever they stand. Most bodies end here, at the speed of `indexOf`. */
function hasFewBrackets(text: string): boolean {
  if (text.length <= MAX_DEPTH) return true;
  let left = MAX_DEPTH;
  for (const bracket of ["[", "{"]) {
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) {
      if (left-- === 0) return false;
    }
  }
  return true;
}
