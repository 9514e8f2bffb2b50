import assert from "node:assert/strict";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { SessionExchange, sessionKeys } from "../../../src/protocol/manage/session_keys.ts";
import { decodeOpen, verifyAnswer } from "../../../src/protocol/manage/session_open.ts";
import { type RandomBytes, systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import vectors from "../../vectors/manage-session.json" with { type: "json" };
import { flipped, hex, POINTS_OF_EVERYBODY } from "./manage_identities.ts";

assert(vectors.sessions.length > 0, "no vectors were loaded");

const drawing = (secret: string): RandomBytes => (length) => {
  assert.equal(length, secret.length / 2);
  return hex(secret);
};

for (const vector of vectors.sessions) {
  Deno.test(`sessionKeys() of both sides are those of the vector "${vector.name}"`, async () => {
    const administrator = await SessionExchange.create(drawing(vector.administratorSecret));
    const host = await SessionExchange.create(drawing(vector.hostSecret));
    const open = decodeOpen(hex(vector.open)), answer = hex(vector.answer);
    assert.deepEqual(administrator.publicKey, open.ephemeral);
    assert.deepEqual(host.publicKey, await verifyAnswer(open, answer));
    for (
      const shared of [await administrator.agree(host.publicKey), await host.agree(administrator.publicKey)]
    ) {
      assert.equal(shared.toHex(), vector.shared);
      const keys = sessionKeys(shared, open.bytes, answer);
      assert.equal(keys.administrator.toHex(), vector.keys.administrator);
      assert.equal(keys.host.toHex(), vector.keys.host);
    }
  });
}

Deno.test("sessionKeys() are others wherever secret, open or answer differ, and differ by direction", () => {
  const shared = new Uint8Array(32).fill(1), open = new Uint8Array(300).fill(2), answer = new Uint8Array(97);
  const all = [
    sessionKeys(shared, open, answer),
    sessionKeys(flipped(shared, 0), open, answer),
    sessionKeys(shared, flipped(open, 5), answer),
    sessionKeys(shared, open, flipped(answer, 700)),
  ].flatMap((keys) => [keys.administrator.toHex(), keys.host.toHex()]);
  assert.equal(new Set(all).size, all.length);
});

Deno.test("SessionExchange.agree() refuses points that everybody has the secret of, its own key and what is no key", async () => {
  const exchange = await SessionExchange.create(systemRandomBytes);
  const refused = [...POINTS_OF_EVERYBODY.map(hex), exchange.publicKey.slice(), new Uint8Array(31).fill(5)];
  for (const key of refused) {
    await assert.rejects(
      exchange.agree(key),
      (error: unknown) => error instanceof ResetError && error.code === "malformed",
      key.toHex(),
    );
  }
});
