/** Reads back what `deno compile` wrote into a program. */
import assert from "node:assert/strict";

/** A kind's grant or denial: null for none, [] for the whole kind, else the scopes. */
export interface BakedFacts {
  readonly argv: readonly string[];
  readonly permissions: Readonly<Record<string, readonly string[] | boolean | null>>;
  readonly unstable_config: { readonly features: readonly string[] };
  readonly app_name: string;
}

const START = new TextEncoder().encode('{"argv":');

/** The facts lie in the program as plain JSON. */
export async function readBaked(path: string): Promise<BakedFacts> {
  const bytes = await Deno.readFile(path);
  const at = indexOf(bytes, START);
  assert.notEqual(at, -1, `${path} holds no facts`);
  // One character a byte: what follows the JSON is no text.
  const text = new TextDecoder("latin1").decode(bytes.subarray(at, at + 1_000_000));
  return JSON.parse(text.slice(0, lengthOfObject(text)));
}

function indexOf(bytes: Uint8Array, wanted: Uint8Array): number {
  for (let at = bytes.indexOf(wanted[0] ?? 0); at !== -1; at = bytes.indexOf(wanted[0] ?? 0, at + 1)) {
    if (wanted.every((byte, index) => bytes[at + index] === byte)) return at;
  }
  return -1;
}

/** Length of the JSON object that the text begins with. */
function lengthOfObject(text: string): number {
  let depth = 0;
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}]/g)) {
    if (token === "{") depth++;
    if (token === "}" && --depth === 0) return index + 1;
  }
  return 0;
}
