/** What tests ask a schema. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Schema } from "../../../src/protocol/rpc/contract.ts";
import { messagePackCodec } from "../../../src/protocol/rpc/messagepack_codec.ts";
import { withOtherKeys, withOtherValues } from "./hostile_values.ts";

/** Text of any characters, and halves of such. */
export function anyText(maxCharacters: number): fc.Arbitrary<string> {
  const character = fc.oneof(fc.nat(0x7f), fc.nat(0xffff), fc.nat(0x10ffff));
  return fc.array(character, { maxLength: maxCharacters }).map((points) => String.fromCodePoint(...points));
}

/** Whether a schema takes a value; it must give the same one back. */
export function takes(schema: Schema<unknown>, value: unknown): boolean {
  const result = schema["~standard"].validate(value);
  assert(!(result instanceof Promise));
  if (result.issues !== undefined) {
    assert(result.issues.length > 0);
    for (const { message } of result.issues) assert(message.length < 200, message);
    return false;
  }
  assert.equal(result.value, value);
  return true;
}

/** It takes the value, also as it comes out of MessagePack. */
export function assertTakes(schema: Schema<unknown>, value: unknown, why = ""): void {
  assert(takes(schema, value), why);
  const codec = messagePackCodec(), body = codec.encode(value);
  const bytes = typeof body === "string" ? new Uint8Array(0) : new Uint8Array(body as Uint8Array);
  const arrived = codec.decode(bytes);
  assert(takes(schema, arrived), why);
  assert.deepEqual(arrived, value);
}

export function assertRefuses(schema: Schema<unknown>, value: unknown, why: string): void {
  assert.equal(takes(schema, value), false, why);
}

/**
 * No key more, no key less; and nothing else in any place but what `mayBe` says.
 *
 * @param mayBe how places may be changed and still be right, such as "it.exitCode = WRONG[1]"
 */
export function assertStrict(schema: Schema<unknown>, good: unknown, mayBe: readonly string[] = []): void {
  assertTakes(schema, good);
  for (const { how, value } of withOtherKeys(good)) assertRefuses(schema, value, how);
  const taken: string[] = [];
  for (const { how, value } of withOtherValues(good)) {
    if (takes(schema, value)) taken.push(how);
  }
  assert.deepEqual(taken, mayBe);
}
