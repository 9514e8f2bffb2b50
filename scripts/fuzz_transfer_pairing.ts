/**
 * Pairing against whoever is at the other end: nobody is paired but by the very bytes of the side that knows the
 * secret, and a code is spent before anything could be learnt of a guess, and only then.
 */
import { gcm } from "@noble/ciphers/aes.js";
import assert from "node:assert/strict";
import type { RandomBytes, Timers } from "../src/protocol/rpc/timers.ts";
import { parseCode } from "../src/protocol/transfer/code.ts";
import { pair, PairingError, type Rendezvous, type TransferRole } from "../src/protocol/transfer/pairing.ts";
import vectors from "../tests/vectors/transfer-pairing.json" with { type: "json" };
import type { FuzzRandom } from "./fuzz_random.ts";
import { RecordedConnection } from "./fuzz_recorded_connection.ts";
import { noiseOrMutant } from "./fuzz_target.ts";

const hex = Uint8Array.fromHex;
const SEALED_CONFIRMATION_BYTES = 32 + 16;
const RECORD_BYTES = 4 + SEALED_CONFIRMATION_BYTES;

/** One side of a vector, and what the other side says to it. */
interface Scene {
  readonly role: TransferRole;
  readonly rendezvous: Rendezvous;
  readonly instance: Uint8Array;
  readonly random: readonly string[];
  /** Length of a hello, either side's. */
  readonly helloBytes: number;
  /** The other side's hello and confirmation. */
  readonly right: Uint8Array;
}

type Vector = (typeof vectors.code)[number] | (typeof vectors.resume)[number];

/** Time that does not pass: what has been said was said, and then the connection ends. */
const timers: Timers = { monotonicMs: () => 0, after: () => () => {} };

const scenes: readonly Scene[] = [...vectors.code, ...vectors.resume].flatMap((vector) => [
  sceneOf(vector, "sender"),
  sceneOf(vector, "receiver"),
]);

function sceneOf(vector: Vector, role: TransferRole): Scene {
  const isSender = role === "sender", own = vector[role], theirs = isSender ? vector.receiver : vector.sender;
  const { keys } = vector;
  const key = hex(isSender ? keys.receiverKey : keys.senderKey);
  const confirmation = hex(isSender ? keys.receiverConfirmation : keys.senderConfirmation);
  const head = Uint8Array.of(0, 0, 0, SEALED_CONFIRMATION_BYTES);
  const record = [...head, ...gcm(key, new Uint8Array(12), head).encrypt(confirmation)];
  return {
    role,
    rendezvous: "code" in vector
      ? { kind: "code", code: parseCode(vector.code) }
      : { kind: "resume", secret: hex(vector.secret) },
    instance: hex(own.instance),
    random: own.random,
    helloBytes: own.hello.length / 2,
    right: Uint8Array.of(...hex(theirs.hello), ...record),
  };
}

/** Which scene, how the bytes are cut into reads, and what the other side says. */
export function makePairing(random: FuzzRandom): Uint8Array {
  const number = random.below(scenes.length), right = scenes[number]?.right ?? new Uint8Array(0);
  const bytes = random.below(2) === 0 ? right : noiseOrMutant(random, [right]);
  return Uint8Array.of(number, 1 + random.below(100), ...bytes);
}

/** Whether the two are paired. */
export async function acceptsPairing(input: Uint8Array): Promise<boolean> {
  const scene = scenes[(input[0] ?? 0) % scenes.length], bytes = input.subarray(2);
  assert(scene !== undefined);
  const connection = new RecordedConnection(bytes, Math.max(1, input[1] ?? 1));
  const told: string[] = [];
  const failure = await failureOf(scene, connection, told);
  const isRight = bytes.subarray(0, scene.right.length).toHex() === scene.right.toHex();
  assert.equal(failure === null, isRight, failure ?? "paired with a stranger");
  const isConfirmed = connection.written.map(({ length }) => length).includes(RECORD_BYTES);
  if (scene.rendezvous.kind === "resume") {
    assert.deepEqual(told, []);
    assert.notEqual(failure, "mismatch");
  } else {
    assert.deepEqual(told, failure === null ? ["spend", "proven"] : failure === "mismatch" ? ["spend"] : []);
    // A receiver confirms after it has spent the code, a sender only whoever has confirmed before.
    assert.equal(isConfirmed, scene.role === "sender" ? failure === null : told.length > 0);
  }
  if (failure !== null) {
    await assert.rejects(connection.read(new Uint8Array(1)), { code: "closed" });
  }
  return failure === null;
}

async function failureOf(
  scene: Scene,
  connection: RecordedConnection,
  told: string[],
): Promise<string | null> {
  const { role, rendezvous, instance } = scene;
  const drawn = scene.random.values();
  const random: RandomBytes = () => hex(drawn.next().value ?? "");
  const memory = {
    spend: (): Promise<void> => {
      assert.equal(connection.written.length, 1, "spent before anything is answered");
      told.push("spend");
      return Promise.resolve();
    },
    proven: (): Promise<void> => {
      told.push("proven");
      return Promise.resolve();
    },
  };
  try {
    await pair(connection, { role, rendezvous, instance, sendIdentifier: true, memory, timers, random });
    return null;
  } catch (error) {
    assert(error instanceof PairingError, String(error));
    return error.failure;
  }
}
