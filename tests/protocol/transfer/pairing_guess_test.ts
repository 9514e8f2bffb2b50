/** Whoever guesses at a code has one guess at each of the two who know it, whatever he does. */
import assert from "node:assert/strict";
import { ed25519 } from "@noble/curves/ed25519.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { parseCode } from "../../../src/protocol/transfer/code.ts";
import { encodeHello } from "../../../src/protocol/transfer/hello.ts";
import type { PairingKeys } from "../../../src/protocol/transfer/key_schedule.ts";
import { CONFIRMATION_MS } from "../../../src/protocol/transfer/limits.ts";
import { PairingError, type TransferRole } from "../../../src/protocol/transfer/pairing.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { until } from "../../e2e/until.ts";
import spake2Vectors from "../../vectors/transfer-spake2.json" with { type: "json" };
import { FakeTimers } from "../rpc/fake_timers.ts";
import {
  CODE,
  CODE_HELLO_BYTES,
  CONFIRMATION_RECORD_BYTES,
  Side,
  Stranger,
  WRONG_CODE,
} from "./pairing_sides.ts";

const HELLO = `write ${CODE_HELLO_BYTES}`, CONFIRMATION = `write ${CONFIRMATION_RECORD_BYTES}`;
const REFUSAL = Uint8Array.of(0, 0, 0, 0), REFUSED = "write 4";

interface Attack {
  readonly victim: Side;
  readonly attacker: Stranger;
  readonly timers: FakeTimers;
}

function attackOn(role: TransferRole, guess: string): Attack {
  const [here, there] = memoryPair();
  const timers = new FakeTimers();
  const attackers = role === "sender" ? "receiver" : "sender";
  return {
    victim: new Side(role, here, { timers }),
    attacker: new Stranger(attackers, there, guess),
    timers,
  };
}

/** That the code is used up, with one guess, and nobody was taken for somebody who knows it. */
async function usedUp({ victim, timers }: Attack, acts: readonly string[]): Promise<void> {
  assert.equal(await victim.outcome, "mismatch");
  assert.deepEqual(victim.acts, acts);
  assert.equal(victim.guesses, 1);
  assert.equal(victim.isProven, false);
  assert.equal(victim.paired, null);
  assert.equal(timers.pending, 0);
  assert(victim.error instanceof PairingError);
  assert.equal(victim.error.message.includes("ocean"), false);
}

// The attacker plays the sender, and so sees a confirmation.

type Ending = (attack: Attack, confirmation: Uint8Array<ArrayBuffer>) => Promise<void> | void;
const ENDINGS: Readonly<Record<string, Ending>> = {
  "hangs up": ({ attacker }) => attacker.leave(),
  "is silent": async ({ victim, timers }) => {
    await until("it waits for the answer", () => victim.log.at(-1) === "read 4");
    await timers.pass(CONFIRMATION_MS);
  },
  "answers as one who had guessed right": async ({ attacker }) => attacker.say(await attacker.confirmation()),
  "sends the confirmation back": ({ attacker }, confirmation) => attacker.say(confirmation),
  "answers zeros": ({ attacker }) => attacker.say(new Uint8Array(CONFIRMATION_RECORD_BYTES)),
  "answers garbage": ({ attacker }) => attacker.say(Uint8Array.of(0, 0, 0, 48, ...systemRandomBytes(48))),
  "answers half and hangs up": async ({ attacker }) => {
    await attacker.say((await attacker.confirmation()).subarray(0, 30));
    attacker.leave();
  },
  "announces a record of 4 GiB": ({ attacker }) => attacker.say(new Uint8Array(4).fill(0xff)),
  "answers the end of all records": ({ attacker }) =>
    attacker.say(Uint8Array.of(0, 0, 0, 16, ...new Uint8Array(16))),
  "says hello again": ({ attacker }) => attacker.say(attacker.hello),
};

for (const [name, end] of Object.entries(ENDINGS)) {
  Deno.test(`pair() as the receiver spends the code on a sender who guesses wrong and ${name}`, async () => {
    const attack = attackOn("receiver", WRONG_CODE);
    await attack.attacker.greet();
    const confirmation = await attack.attacker.hear(CONFIRMATION_RECORD_BYTES);
    // Before the attacker can have seen a bit of it.
    assert.deepEqual(attack.victim.acts.slice(0, 3), [HELLO, "spend", "spent"]);
    assert.equal(await attack.attacker.learnsFrom(confirmation), false);
    await end(attack, confirmation);
    await usedUp(attack, [HELLO, "spend", "spent", CONFIRMATION, "close"]);
  });
}

Deno.test("pair() as the receiver spends the code also when its confirmation does not get out", async () => {
  const [here, there] = memoryPair();
  let writes = 0;
  const failing: Connection = {
    transport: here.transport,
    remoteAddress: null,
    localAddress: null,
    confidential: true,
    read: (buffer) => here.read(buffer),
    write: (bytes) => ++writes === 1 ? here.write(bytes) : Promise.reject(new Error("gone")),
    closeWrite: () => here.closeWrite(),
    close: () => here.close(),
  };
  const timers = new FakeTimers();
  const victim = new Side("receiver", failing, { timers });
  const attacker = new Stranger("sender", there);
  await attacker.greet();
  await usedUp({ victim, attacker, timers }, [HELLO, "spend", "spent", CONFIRMATION, "close"]);
});

Deno.test("a sender who guesses right learns it from the receiver's confirmation, so the guess is counted before", async () => {
  const { victim, attacker } = attackOn("receiver", CODE);
  await attacker.greet();
  assert.equal(await attacker.learnsFrom(await attacker.hear(CONFIRMATION_RECORD_BYTES)), true);
  assert.deepEqual(victim.acts, [HELLO, "spend", "spent", CONFIRMATION]);
  attacker.leave();
  assert.equal(await victim.outcome, "mismatch");
});

// The attacker plays the receiver, and has to show his guess first.

Deno.test("pair() as the sender spends the code on a receiver who guesses wrong, and answers that it did", async () => {
  const confirmations: Readonly<Record<string, (attacker: Stranger) => Promise<Uint8Array> | Uint8Array>> = {
    "as one who had guessed right": (attacker) => attacker.confirmation(),
    garbage: () => Uint8Array.of(0, 0, 0, 48, ...systemRandomBytes(48)),
    "and more behind it": async (attacker) => Uint8Array.of(...await attacker.confirmation(), 1, 2, 3),
  };
  for (const [name, make] of Object.entries(confirmations)) {
    const attack = attackOn("sender", WRONG_CODE);
    await attack.attacker.greet();
    await attack.attacker.say(await make(attack.attacker));
    assert.deepEqual(await attack.attacker.hearAll(), REFUSAL, name);
    await usedUp(attack, [HELLO, "spend", "spent", REFUSED, "close"]);
  }
});

Deno.test("pair() takes no other value for a confirmation, though it was sealed with the right key", async () => {
  const others: readonly ((keys: PairingKeys, own: Uint8Array) => Uint8Array)[] = [
    (_, own) => own.with(31, (own[31] ?? 0) ^ 1),
    (_, own) => own.with(0, (own[0] ?? 0) ^ 1),
    ({ receiverConfirmation, senderConfirmation }, own) =>
      own === senderConfirmation ? receiverConfirmation : senderConfirmation,
    () => new Uint8Array(32),
  ];
  for (const role of ["sender", "receiver"] as const) {
    for (const other of others) {
      const attack = attackOn(role, CODE);
      await attack.attacker.greet();
      if (role === "receiver") await attack.attacker.hear(CONFIRMATION_RECORD_BYTES);
      await attack.attacker.say(await attack.attacker.confirmation(other));
      assert.deepEqual(await attack.attacker.hearAll(), role === "receiver" ? new Uint8Array(0) : REFUSAL);
      const shown = role === "receiver" ? [CONFIRMATION] : [REFUSED];
      await usedUp(attack, [HELLO, "spend", "spent", ...shown, "close"]);
    }
  }
});

Deno.test("pair() as the receiver hears at once that it is refused, and tells that from a link that was lost", async () => {
  const [here, there] = memoryPair();
  const receiver = new Side("receiver", here);
  const sender = new Stranger("sender", there);
  await sender.greet();
  await sender.hear(CONFIRMATION_RECORD_BYTES);
  await sender.say(REFUSAL);
  assert.equal(await receiver.outcome, "mismatch");
  assert(receiver.error instanceof PairingError && receiver.error.cause instanceof PairingError);
  assert.equal(receiver.error.cause.failure, "malformed");
});

Deno.test("pair() as the sender looks at a confirmation only after the code is spent", async () => {
  const { subtle } = crypto;
  const decrypt = subtle.decrypt;
  for (const guess of [CODE, WRONG_CODE]) {
    const { victim, attacker } = attackOn("sender", guess);
    await attacker.greet();
    const confirmation = await attacker.confirmation();
    try {
      subtle.decrypt = (...input: Parameters<SubtleCrypto["decrypt"]>): Promise<ArrayBuffer> => {
        victim.log.push("look");
        return decrypt.apply(subtle, input);
      };
      await attacker.say(confirmation);
      await victim.outcome;
    } finally {
      subtle.decrypt = decrypt;
    }
    assert.deepEqual(victim.acts.slice(0, 4), [HELLO, "spend", "spent", "look"]);
    assert.equal(victim.acts.filter((act) => act === "look").length, 1);
  }
});

Deno.test("pair() as the sender shows nothing but hellos to whoever confirms nothing, and counts no guess", async () => {
  for (let said = 0; said < CONFIRMATION_RECORD_BYTES; said++) {
    const { victim, attacker } = attackOn("sender", said % 2 === 0 ? CODE : WRONG_CODE);
    await attacker.greet();
    await attacker.say((await attacker.confirmation()).subarray(0, said));
    attacker.leave();
    assert.equal(await victim.outcome, "closed");
    assert.deepEqual(victim.acts, [HELLO, "close"]);
  }
});

/** A hello whose element leaves nothing of the exchange but the neutral one, if the guess is right. */
function neutralHello(guess: string): Uint8Array<ArrayBuffer> {
  const { Point } = ed25519;
  const password = new TextEncoder().encode(parseCode(guess).words.join("-"));
  const bytes = hkdf(sha256, password, undefined, new TextEncoder().encode("SPAKE2 pw"), 48);
  const scalar = BigInt(`0x${bytes.toHex()}`) % Point.Fn.ORDER;
  const element = Point.fromHex(spake2Vectors.blinding).multiply(scalar).toBytes();
  const instance = systemRandomBytes(16);
  return encodeHello({ mode: "code", role: "receiver", instance, share: Uint8Array.of(0x53, ...element) });
}

Deno.test("pair() as the sender does the same for a right guess as for a wrong one, whatever element it comes in", async () => {
  const seen = new Set<string>();
  for (const guess of [CODE, WRONG_CODE]) {
    const { victim, attacker, timers } = attackOn("sender", guess);
    await attacker.say(neutralHello(guess));
    assert.equal((await attacker.hear(CODE_HELLO_BYTES)).length, CODE_HELLO_BYTES);
    await until("it waits for a confirmation", () => victim.log.includes("read 4"));
    await timers.pass(CONFIRMATION_MS - 1);
    assert.equal(victim.error, null);
    await timers.pass(1);
    assert.equal((await attacker.hearAll()).length, 0);
    seen.add(`${await victim.outcome} ${victim.log.join(", ")}`);
  }
  assert.deepEqual([...seen], [`silent ${HELLO}, read 5, read 18, read 33, read 4, close`]);
});

Deno.test("an error of pair() has nothing of the code in it, and nothing that came", async () => {
  const attack = attackOn("sender", WRONG_CODE);
  await attack.attacker.greet();
  await attack.attacker.say(await attack.attacker.confirmation());
  await attack.victim.outcome;
  for (let error = attack.victim.error; error instanceof Error; error = error.cause) {
    assert.doesNotMatch(error.message, /ocean|rabbit|velvet|481516|[0-9a-f]{8}/);
  }
});
