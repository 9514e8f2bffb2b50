/** pair() beside pairings that were made in Python, byte for byte. */
import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import type { RandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { IDENTIFIER_BYTES } from "../../../src/protocol/transfer/identifier.ts";
import type { Rendezvous, TransferRole } from "../../../src/protocol/transfer/pairing.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import vectors from "../../vectors/transfer-pairing.json" with { type: "json" };
import { byCode, Side, Stranger } from "./pairing_sides.ts";

const ROLES: readonly TransferRole[] = ["sender", "receiver"];
const otherRole = (role: TransferRole): TransferRole => role === "sender" ? "receiver" : "sender";
const bytesOf = (hex: string): Uint8Array<ArrayBuffer> => Uint8Array.fromHex(hex);

interface Vector {
  readonly name: string;
  readonly rendezvous: Rendezvous;
  readonly resumeSecret: string;
  readonly pairing: (typeof vectors.code)[number] | (typeof vectors.resume)[number];
}

const VECTORS: readonly Vector[] = [
  ...vectors.code.map((pairing) => ({
    name: pairing.code,
    rendezvous: byCode(pairing.code),
    resumeSecret: pairing.keys.resumeSecret,
    pairing,
  })),
  ...vectors.resume.map((pairing, at) => ({
    name: `resumed, ${at}`,
    rendezvous: { kind: "resume" as const, secret: bytesOf(pairing.secret) },
    resumeSecret: pairing.secret,
    pairing,
  })),
];

/** A record made by node:crypto and not by ours. */
function recordOf(key: string, number: number, plaintext: string): string {
  const nonce = new Uint8Array(12);
  nonce[11] = number;
  const cipher = createCipheriv("aes-256-gcm", bytesOf(key), nonce);
  const length = (plaintext.length / 2 + 16).toString(16).padStart(8, "0");
  cipher.setAAD(bytesOf(length));
  const ciphertext = cipher.update(plaintext, "hex", "hex") + cipher.final("hex");
  return length + ciphertext + cipher.getAuthTag().toString("hex");
}

/** Draws these, in their order and lengths. */
function drawing(hexes: readonly string[]): RandomBytes {
  const left = [...hexes];
  return (length) => {
    const bytes = bytesOf(left.shift() ?? "");
    assert.equal(bytes.length, length);
    return bytes;
  };
}

for (const { name, rendezvous, resumeSecret, pairing } of VECTORS) {
  for (const role of ROLES) {
    Deno.test(`pair() as the ${role} says and takes the bytes of the vector "${name}"`, async () => {
      const { keys } = pairing;
      const { instance, random, hello } = pairing[role];
      const [here, there] = memoryPair();
      const side = new Side(role, here, {
        rendezvous,
        instance: bytesOf(instance),
        random: drawing(random),
        sendIdentifier: true,
      });
      const peer = new Stranger(otherRole(role), there);
      assert.equal((await peer.hear(IDENTIFIER_BYTES)).toHex(), pairing.identifier);
      assert.equal((await peer.hear(hello.length / 2)).toHex(), hello);
      const sender = recordOf(keys.senderKey, 0, keys.senderConfirmation);
      const receiver = recordOf(keys.receiverKey, 0, keys.receiverConfirmation);
      const [own, theirs] = role === "sender" ? [sender, receiver] : [receiver, sender];
      await peer.say(bytesOf(pairing[otherRole(role)].hello + theirs));
      assert.equal((await peer.hear(own.length / 2)).toHex(), own);
      assert.equal(await side.outcome, "paired");
      assert(side.paired !== null);
      const { sealer, opener, resumeSecret: found } = side.paired;
      assert.equal(found.toHex(), resumeSecret);
      const [ownKey, theirKey] = role === "sender"
        ? [keys.senderKey, keys.receiverKey]
        : [keys.receiverKey, keys.senderKey];
      assert.equal((await sealer.seal(Uint8Array.of(0xab))).toHex(), recordOf(ownKey, 1, "ab"));
      assert.deepEqual(await opener.open(bytesOf(recordOf(theirKey, 1, "cd"))), Uint8Array.of(0xcd));
    });
  }
}

Deno.test("there are vectors of pairings by codes and of resumed ones", () => {
  assert.deepEqual(VECTORS.map(({ rendezvous }) => rendezvous.kind), ["code", "code", "resume", "resume"]);
});
