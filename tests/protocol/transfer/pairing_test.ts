import assert from "node:assert/strict";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { parseCode } from "../../../src/protocol/transfer/code.ts";
import { codeIdentifier, IDENTIFIER_BYTES } from "../../../src/protocol/transfer/identifier.ts";
import type { PairingMemory } from "../../../src/protocol/transfer/memory.ts";
import type { Paired, Rendezvous, TransferRole } from "../../../src/protocol/transfer/pairing.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { until } from "../../e2e/until.ts";
import { FakeTimers } from "../rpc/fake_timers.ts";
import { RelayClock } from "./memory_relay_clock.ts";
import {
  byCode,
  CODE,
  CODE_HELLO_BYTES,
  CONFIRMATION_RECORD_BYTES,
  Side,
  type SideOptions,
  Stranger,
} from "./pairing_sides.ts";

const ROLES: readonly TransferRole[] = ["sender", "receiver"];
const otherRole = (role: TransferRole): TransferRole => role === "sender" ? "receiver" : "sender";

interface Pair {
  readonly sender: Side;
  readonly receiver: Side;
  readonly connections: readonly [Connection, Connection];
}

function bothSides(options: SideOptions = {}, receivers: SideOptions = options): Pair {
  const connections = memoryPair();
  return {
    connections,
    sender: new Side("sender", connections[0], options),
    receiver: new Side("receiver", connections[1], receivers),
  };
}

function pairedOf({ paired }: Side): Paired {
  assert(paired !== null, "the side has paired");
  return paired;
}

/** Sends a record each way over what a pairing has left. */
async function converse({ sender, receiver, connections }: Pair): Promise<void> {
  const ways = [
    [pairedOf(sender), connections[0], pairedOf(receiver), connections[1]],
    [pairedOf(receiver), connections[1], pairedOf(sender), connections[0]],
  ] as const;
  for (const [from, out, to, input] of ways) {
    const record = await from.sealer.seal(Uint8Array.of(1, 2, 3));
    await out.write(record);
    const arrived = new Uint8Array(100);
    const count = await input.read(arrived);
    assert.equal(count, record.length);
    assert.deepEqual(await to.opener.open(arrived.slice(0, record.length)), Uint8Array.of(1, 2, 3));
  }
}

Deno.test("pair() gives both sides keys that fit and one resume secret, and leaves the connection to them", async () => {
  const pair = bothSides();
  assert.deepEqual(await Promise.all([pair.sender.outcome, pair.receiver.outcome]), ["paired", "paired"]);
  assert.deepEqual(pairedOf(pair.sender).resumeSecret, pairedOf(pair.receiver).resumeSecret);
  assert.equal(pairedOf(pair.sender).resumeSecret.length, 32);
  await converse(pair);
});

Deno.test("pair() tells memory before each act that shows something, and waits until that is durable", async () => {
  const { sender, receiver } = bothSides();
  await Promise.all([sender.outcome, receiver.outcome]);
  const hello = `write ${CODE_HELLO_BYTES}`, confirmation = `write ${CONFIRMATION_RECORD_BYTES}`;
  assert.deepEqual(receiver.acts, [hello, "spend", "spent", confirmation, "prove", "proven"]);
  assert.deepEqual(sender.acts, [hello, "spend", "spent", "prove", "proven", confirmation]);
  const secret = pairedOf(sender).resumeSecret.toHex();
  for (const { secrets } of [sender, receiver]) assert.deepEqual(secrets, [secret, secret]);
});

Deno.test("pair() sends its hello before it reads, and reads nothing beyond the confirmation", async () => {
  for (const role of ROLES) {
    const [here, there] = memoryPair();
    const side = new Side(role, here);
    const stranger = new Stranger(otherRole(role), there, CODE);
    await until("it has begun to read", () => side.log.length === 2);
    assert.deepEqual(side.log, [`write ${CODE_HELLO_BYTES}`, "read 5"]);
    await stranger.greet();
    if (role === "receiver") await stranger.hear(CONFIRMATION_RECORD_BYTES);
    await stranger.say(Uint8Array.of(...await stranger.confirmation(), 7, 8, 9));
    assert.equal(await side.outcome, "paired");
    const rest = new Uint8Array(9);
    assert.equal(await here.read(rest), 3);
    assert.deepEqual(rest.subarray(0, 3), Uint8Array.of(7, 8, 9));
  }
});

Deno.test("pair() sends the identifier and the hello in one write where there is a relay", async () => {
  const [here, there] = memoryPair();
  const side = new Side("sender", here, { sendIdentifier: true });
  const relay = new Stranger("receiver", there);
  const identifier = codeIdentifier(parseCode(CODE).nameplate);
  assert.deepEqual(await relay.hear(IDENTIFIER_BYTES), identifier);
  assert.equal((await relay.hear(CODE_HELLO_BYTES)).subarray(0, 4).toHex(), "5053544e");
  assert.equal(side.log[0], `write ${IDENTIFIER_BYTES + CODE_HELLO_BYTES}`);
  relay.leave();
  assert.equal(await side.outcome, "closed");
});

Deno.test("pair() makes other keys each time, of the same code and of the same secret", async () => {
  const seen = new Set<string>();
  const secret = new Uint8Array(32).fill(9);
  const meetings: readonly Rendezvous[] = [byCode(CODE), byCode(CODE), { kind: "resume", secret }, {
    kind: "resume",
    secret,
  }];
  for (const rendezvous of meetings) {
    const pair = bothSides({ rendezvous });
    await Promise.all([pair.sender.outcome, pair.receiver.outcome]);
    for (const side of [pair.sender, pair.receiver]) {
      const record = await pairedOf(side).sealer.seal(new Uint8Array(16));
      seen.add(record.toHex());
    }
  }
  assert.equal(seen.size, 2 * meetings.length);
});

Deno.test("pair() resumed keeps the secret of before, and tells memory nothing", async () => {
  const secret = systemRandomBytes(32);
  const pair = bothSides({ rendezvous: { kind: "resume", secret } });
  assert.deepEqual(await Promise.all([pair.sender.outcome, pair.receiver.outcome]), ["paired", "paired"]);
  for (const side of [pair.sender, pair.receiver]) {
    assert.deepEqual(pairedOf(side).resumeSecret, secret);
    assert.deepEqual(side.secrets, []);
  }
  await converse(pair);
});

Deno.test("pair() pairs again by the secret that a code has led to, and with nobody else", async () => {
  const first = bothSides();
  await Promise.all([first.sender.outcome, first.receiver.outcome]);
  const secret = pairedOf(first.sender).resumeSecret;
  const again = bothSides({ rendezvous: { kind: "resume", secret } });
  assert.deepEqual(await Promise.all([again.sender.outcome, again.receiver.outcome]), ["paired", "paired"]);
  await converse(again);
});

Deno.test("pair() leaves no alarm behind, and nothing that an abort would close", async () => {
  const timers = new FakeTimers();
  const controller = new AbortController();
  const pair = bothSides({ timers, signal: controller.signal });
  await Promise.all([pair.sender.outcome, pair.receiver.outcome]);
  assert.equal(timers.pending, 0);
  controller.abort();
  await timers.pass(1_000_000);
  await converse(pair);
});

// Memory that cannot be written, and somebody who gives up.

const FULL = new Error("no space left");

function failingAt(step: keyof PairingMemory): PairingMemory {
  return {
    spend: () => step === "spend" ? Promise.reject(FULL) : Promise.resolve(),
    proven: () => step === "proven" ? Promise.reject(FULL) : Promise.resolve(),
  };
}

Deno.test("pair() as the receiver says nothing more when the code cannot be spent", async () => {
  const [here, there] = memoryPair();
  const side = new Side("receiver", here, { memory: failingAt("spend") });
  const stranger = new Stranger("sender", there, CODE);
  await stranger.greet();
  assert.equal((await stranger.hearAll()).length, 0);
  assert.equal(await side.outcome, String(FULL));
  assert.equal(side.error, FULL);
});

Deno.test("pair() as the sender looks at no confirmation when the code cannot be spent, and answers none", async () => {
  for (const step of ["spend", "proven"] as const) {
    for (const guess of [CODE, "481516-ocean-rabbit-legal"]) {
      const [here, there] = memoryPair();
      const side = new Side("sender", here, { memory: failingAt(step) });
      const stranger = new Stranger("receiver", there, guess);
      await stranger.greet();
      await stranger.say(await stranger.confirmation());
      const isKnown = step === "spend" || guess === CODE;
      assert.deepEqual(await stranger.hearAll(), new Uint8Array(isKnown ? 0 : 4));
      assert.equal(await side.outcome, isKnown ? String(FULL) : "mismatch");
      assert.equal(side.log.at(-1), "close");
    }
  }
});

Deno.test("pair() as the receiver is not paired when that cannot be kept", async () => {
  const { receiver, sender } = bothSides({}, { memory: failingAt("proven") });
  assert.equal(await receiver.outcome, String(FULL));
  assert.equal(await sender.outcome, "paired");
  assert.equal(receiver.log.at(-1), "close");
});

/** Memory that is told and never gets done; what it is told is counted. */
function stuckAt(step: keyof PairingMemory): { memory: PairingMemory; told: string[] } {
  const told: string[] = [];
  const tell = (name: keyof PairingMemory) => (): Promise<void> => {
    told.push(name);
    return name === step ? new Promise<void>(() => {}) : Promise.resolve();
  };
  return { memory: { spend: tell("spend"), proven: tell("proven") }, told };
}

Deno.test("pair() shows nothing while memory is being written, however long that takes", async () => {
  for (const role of ROLES) {
    for (const step of ["spend", "proven"] as const) {
      const [here, there] = memoryPair();
      const timers = new FakeTimers();
      const { memory, told } = stuckAt(step);
      const side = new Side(role, here, { memory, timers });
      const stranger = new Stranger(otherRole(role), there, CODE);
      await stranger.greet();
      if (role === "sender") await stranger.say(await stranger.confirmation());
      else if (step === "proven") {
        await stranger.hear(CONFIRMATION_RECORD_BYTES);
        await stranger.say(await stranger.confirmation());
      }
      await until("memory is told", () => told.at(-1) === step);
      await timers.pass(1_000_000);
      const writes = role === "receiver" && step === "proven" ? 2 : 1;
      assert.equal(side.acts.filter((entry) => entry.startsWith("write")).length, writes);
      assert.equal(side.acts.includes("close"), false);
      assert.equal(timers.pending, 0);
    }
  }
});

Deno.test("pair() waits for a side whose disk is busy when it writes the guess down", async () => {
  for (const slow of ROLES) {
    const timers = new RelayClock();
    const memoryOf = (role: TransferRole): PairingMemory => {
      const ms = role === slow ? 7_000 : 0;
      const write = (): Promise<void> => new Promise((done) => void timers.after(ms, done));
      return { spend: write, proven: write };
    };
    const pair = bothSides({ timers, memory: memoryOf("sender") }, { timers, memory: memoryOf("receiver") });
    const outcomes = [pair.sender.outcome, pair.receiver.outcome];
    await timers.settle(outcomes, 60_000);
    assert.deepEqual(await Promise.all(outcomes), ["paired", "paired"], slow);
  }
});

Deno.test("pair() gives up with the signal's reason at every step, and says nothing afterwards", async () => {
  const reason = new Error("given up");
  const before = new AbortController();
  before.abort(reason);
  const [unused] = memoryPair();
  const never = new Side("sender", unused, { signal: before.signal });
  assert.equal(await never.outcome, String(reason));
  assert.deepEqual(never.acts, ["close"]);
  for (const role of ROLES) {
    for (const step of ["hello", "confirmation", "spend", "proven"] as const) {
      const [here, there] = memoryPair();
      const controller = new AbortController();
      const abort = (name: string) => (): Promise<void> => {
        if (name === step) controller.abort(reason);
        return Promise.resolve();
      };
      const timers = new FakeTimers();
      const memory = { spend: abort("spend"), proven: abort("proven") };
      const side = new Side(role, here, { memory, timers, signal: controller.signal });
      const stranger = new Stranger(otherRole(role), there, CODE);
      if (step === "hello") {
        await until("it reads", () => side.log.includes("read 5"));
        controller.abort(reason);
      } else {
        await stranger.greet();
        if (step === "confirmation") {
          await until("it waits for a confirmation", () => side.log.includes("read 4"));
          controller.abort(reason);
        } else if (role === "sender") {
          await stranger.say(await stranger.confirmation());
        } else if (step === "proven") {
          await stranger.hear(CONFIRMATION_RECORD_BYTES);
          await stranger.say(await stranger.confirmation());
        }
      }
      assert.equal(await side.outcome, String(reason), `${role}, ${step}`);
      assert.equal(side.log.includes("close"), true);
      const showed = role === "receiver" && (step === "confirmation" || step === "proven");
      assert.equal(side.log.includes(`write ${CONFIRMATION_RECORD_BYTES}`), showed, `${role}, ${step}`);
      assert.equal(timers.pending, 0);
    }
  }
});

Deno.test("pair() as the sender has paired though its answer finds nobody, or nobody who reads", async () => {
  for (const isSilent of [false, true]) {
    const [here, there] = memoryPair();
    const timers = new FakeTimers();
    let writes = 0;
    const failing: Connection = {
      transport: here.transport,
      remoteAddress: null,
      localAddress: null,
      confidential: true,
      read: (buffer) => here.read(buffer),
      write: (bytes) => {
        if (++writes === 1) return here.write(bytes);
        if (!isSilent) return Promise.reject(new Error("gone"));
        return new Promise((_, reject) => rejectStuck = reject);
      },
      closeWrite: () => here.closeWrite(),
      close: () => {
        here.close();
        rejectStuck(new Error("closed"));
      },
    };
    let rejectStuck: (error: Error) => void = () => {};
    const side = new Side("sender", failing, { timers });
    const stranger = new Stranger("receiver", there, CODE);
    await stranger.greet();
    await stranger.say(await stranger.confirmation());
    await until("it answers", () => writes === 2);
    await timers.pass(2_999);
    if (isSilent) assert.equal(side.paired, null);
    await timers.pass(1);
    assert.equal(await side.outcome, "paired");
    assert.deepEqual(side.secrets, [
      pairedOf(side).resumeSecret.toHex(),
      pairedOf(side).resumeSecret.toHex(),
    ]);
  }
});
