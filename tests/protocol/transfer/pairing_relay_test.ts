/** A relay that does what it likes with two who know the same code: it can keep them apart, and win nothing else. */
import assert from "node:assert/strict";
import { IDENTIFIER_BYTES } from "../../../src/protocol/transfer/identifier.ts";
import type { Rendezvous, TransferRole } from "../../../src/protocol/transfer/pairing.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { FakeTimers } from "../rpc/fake_timers.ts";
import {
  byCode,
  CODE,
  CODE_HELLO_BYTES,
  CONFIRMATION_RECORD_BYTES,
  Side,
  type SideOptions,
  WRONG_CODE,
} from "./pairing_sides.ts";

/** What each side says in all, beside its identifier. */
const SAID_BYTES = CODE_HELLO_BYTES + CONFIRMATION_RECORD_BYTES;
const ROLES: readonly TransferRole[] = ["sender", "receiver"];

interface Meeting {
  readonly sender: Side;
  readonly receiver: Side;
}

/** A relay on its way between two sides. */
interface Relay extends Meeting {
  /** The relay's ends: of the connection to the sender, and to the receiver. */
  readonly ends: Readonly<Record<TransferRole, Connection>>;
  /** Cuts both, and waits until the sides have come to an end. */
  finish(): Promise<void>;
}

async function relayed(options: SideOptions = {}, receivers = options): Promise<Relay> {
  const [a, b] = memoryPair(), [c, d] = memoryPair();
  const sender = new Side("sender", a, { ...options, sendIdentifier: true });
  const receiver = new Side("receiver", d, { ...receivers, sendIdentifier: true });
  for (const end of [b, c]) await exactly(end, IDENTIFIER_BYTES);
  const finish = async (): Promise<void> => {
    b.close();
    c.close();
    await Promise.all([sender.outcome, receiver.outcome]);
  };
  return { sender, receiver, ends: { sender: b, receiver: c }, finish };
}

async function exactly(input: Connection, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const count = await input.read(bytes.subarray(at));
    assert(count !== null, "the side has ended");
    at += count;
  }
  return bytes;
}

/** Passes on a part of what one side says, and then does something to the rest of it. */
type Meddling = (bytes: Uint8Array<ArrayBuffer>, at: number) => Uint8Array | "cut";

/** Passes on what both say, through the hands of a meddler; both come to an end. */
async function meet(
  meddlers: Partial<Record<TransferRole, Meddling>>,
  options: SideOptions = {},
): Promise<Meeting> {
  const relay = await relayed(options);
  const { sender, receiver } = relay.ends;
  const cut = (): void => {
    sender.close();
    receiver.close();
  };
  const ways = [pass(sender, receiver, meddlers.sender), pass(receiver, sender, meddlers.receiver)];
  const passing = Promise.all(ways.map((way) => way.catch(() => {}).finally(cut)));
  await Promise.all([relay.sender.outcome, relay.receiver.outcome]);
  await relay.finish();
  await passing;
  return relay;
}

async function pass(
  input: Connection,
  output: Connection,
  meddle: Meddling = (bytes) => bytes,
): Promise<void> {
  const buffer = new Uint8Array(1024);
  let at = 0;
  for (let count = await input.read(buffer); count !== null; count = await input.read(buffer)) {
    for (const byte of buffer.slice(0, count)) {
      const changed = meddle(Uint8Array.of(byte), at++);
      if (changed === "cut") return;
      await output.write(changed);
    }
  }
}

/** What is true whatever a relay does. */
function nobodyWinsAnything({ sender, receiver }: Meeting, what: string): void {
  for (const side of [sender, receiver]) {
    assert(side.guesses <= 1, what);
    if (side.isProven) assert(side.log.indexOf("spent") < side.log.indexOf("prove"), what);
    if (side.isProven) assert.equal(side.guesses, 1, what);
  }
  if (!sender.isProven) assert.equal(receiver.isProven, false, what);
  // If the same code is typed again: what the receiver has kept is what the sender has kept, and the two go on.
  if (sender.isProven) assert.equal(receiver.secrets[0], sender.secrets[0], what);
}

async function outcomes({ sender, receiver }: Meeting): Promise<string> {
  return `${await sender.outcome}, ${await receiver.outcome}`;
}

Deno.test("pair() pairs two through a relay that takes the identifiers and passes on byte by byte", async () => {
  const relay = await relayed();
  const { sender, receiver } = relay.ends;
  const passing = Promise.allSettled([pass(sender, receiver), pass(receiver, sender)]);
  assert.equal(await outcomes(relay), "paired, paired");
  nobodyWinsAnything(relay, "honest");
  await relay.finish();
  await passing;
});

Deno.test("pair() pairs nobody through a relay that changes a bit of anything", async () => {
  const seen = new Set<string>();
  for (const changed of ROLES) {
    for (let place = 0; place < SAID_BYTES; place++) {
      const bit = 1 << place % 8;
      const meeting = await meet({
        [changed]: ([byte = 0]: Uint8Array, at: number) => Uint8Array.of(at === place ? byte ^ bit : byte),
      });
      const what = `bit ${bit} of byte ${place} of the ${changed}`;
      nobodyWinsAnything(meeting, what);
      assert.equal(meeting.receiver.paired, null, what);
      assert.equal(meeting.receiver.isProven, false, what);
      // Last comes the sender's confirmation, when it knows the receiver already.
      const isLast = changed === "sender" && place >= CODE_HELLO_BYTES;
      assert.equal(meeting.sender.paired !== null, isLast, what);
      assert.equal(meeting.sender.isProven, isLast, what);
      if (place >= CODE_HELLO_BYTES) assert.equal(meeting.receiver.guesses, 1, what);
      seen.add(await meeting.receiver.outcome);
    }
  }
  // Whatever is changed in a hello and not refused at once shows in the confirmations.
  assert.deepEqual([...seen].sort(), ["closed", "malformed", "mismatch", "version"]);
});

Deno.test("pair() never guesses twice with a relay that cuts the dialogue before any byte", async () => {
  const seen = new Set<string>();
  for (const cut of ROLES) {
    for (let place = 0; place < SAID_BYTES; place++) {
      const meeting = await meet({ [cut]: (byte: Uint8Array, at: number) => at === place ? "cut" : byte });
      const what = `before byte ${place} of the ${cut}`;
      nobodyWinsAnything(meeting, what);
      assert.equal(meeting.receiver.paired, null, what);
      const { sender, receiver } = meeting;
      seen.add(`${cut}, ${place < CODE_HELLO_BYTES ? "hello" : "confirmation"}: ${await outcomes(meeting)}`);
      assert.equal(sender.guesses, cut === "sender" && place >= CODE_HELLO_BYTES ? 1 : 0, what);
      assert.equal(receiver.guesses, await receiver.outcome === "mismatch" ? 1 : 0, what);
    }
  }
  // Cut in the receiver's hello, the sender's may have arrived: then the receiver has confirmed, and cannot know to whom.
  seen.delete("receiver, hello: closed, mismatch");
  assert.deepEqual([...seen].sort(), [
    "receiver, confirmation: closed, mismatch",
    "receiver, hello: closed, closed",
    "sender, confirmation: paired, mismatch",
    "sender, hello: closed, closed",
  ]);
});

Deno.test("pair() never guesses twice with a relay that swallows everything from any byte on", async () => {
  for (const swallowed of ROLES) {
    for (let place = 0; place < SAID_BYTES; place += 9) {
      const timers = new FakeTimers();
      const meeting = meet({
        [swallowed]: (byte: Uint8Array, at: number) => at >= place ? new Uint8Array(0) : byte,
      }, { timers });
      let isOver = false;
      meeting.then(() => isOver = true, () => isOver = true);
      // No matter how long what is not waited for takes: only what holds in any case is asked below.
      while (!isOver) await timers.pass(1_000);
      const what = `byte ${place} of the ${swallowed}`;
      nobodyWinsAnything(await meeting, what);
      assert.equal((await meeting).receiver.paired, null, what);
      assert.equal(timers.pending, 0, what);
    }
  }
});

Deno.test("pair() takes nothing of its own from a relay that swaps the directions", async () => {
  // From the beginning.
  const first = await relayed();
  for (const end of Object.values(first.ends)) await end.write(await exactly(end, CODE_HELLO_BYTES));
  assert.equal(await outcomes(first), "same_role, same_role");
  await first.finish();
  for (const { secrets } of [first.sender, first.receiver]) assert.deepEqual(secrets, []);
  // After the hellos.
  const second = await relayed();
  const { sender, receiver } = second.ends;
  await receiver.write(await exactly(sender, CODE_HELLO_BYTES));
  await sender.write(await exactly(receiver, CODE_HELLO_BYTES));
  await receiver.write(await exactly(receiver, CONFIRMATION_RECORD_BYTES));
  assert.equal(await second.receiver.outcome, "mismatch");
  await second.finish();
  assert.equal(await outcomes(second), "closed, mismatch");
  assert.equal(second.sender.guesses, 0);
  nobodyWinsAnything(second, "swapped");
});

Deno.test("pair() takes nothing twice from a relay that repeats", async () => {
  const repeated = await relayed();
  const { sender, receiver } = repeated.ends;
  const hello = await exactly(sender, CODE_HELLO_BYTES), theirs = await exactly(receiver, CODE_HELLO_BYTES);
  await receiver.write(Uint8Array.of(...hello, ...hello));
  await sender.write(Uint8Array.of(...theirs, ...theirs));
  assert.equal(await outcomes(repeated), "malformed, mismatch");
  await repeated.finish();
  nobodyWinsAnything(repeated, "repeated");
  assert.equal(repeated.sender.guesses, 0);
});

Deno.test("pair() takes no confirmation before its hello from a relay that reorders", async () => {
  const relay = await relayed();
  const { sender, receiver } = relay.ends;
  await receiver.write(await exactly(sender, CODE_HELLO_BYTES));
  await sender.write(
    (await exactly(receiver, CODE_HELLO_BYTES + CONFIRMATION_RECORD_BYTES)).subarray(CODE_HELLO_BYTES),
  );
  assert.equal(await relay.sender.outcome, "malformed");
  await relay.finish();
  assert.equal(await outcomes(relay), "malformed, mismatch");
  nobodyWinsAnything(relay, "reordered");
});

Deno.test("pair() takes nothing from a relay that plays back an earlier meeting by the same code", async () => {
  const said: Record<TransferRole, number[]> = { sender: [], receiver: [] };
  const tap = (role: TransferRole): Meddling => (bytes) => {
    said[role].push(...bytes);
    return bytes;
  };
  const relay = await relayed();
  const { sender, receiver } = relay.ends;
  const passing = Promise.allSettled([
    pass(sender, receiver, tap("sender")),
    pass(receiver, sender, tap("receiver")),
  ]);
  assert.equal(await outcomes(relay), "paired, paired");
  await relay.finish();
  await passing;
  for (const role of ROLES) {
    const [here, there] = memoryPair();
    const side = new Side(role, here);
    await there.write(Uint8Array.from(said[role === "sender" ? "receiver" : "sender"]));
    assert.equal(await side.outcome, "mismatch");
    assert.equal(side.isProven, false);
  }
});

Deno.test("pair() finds that strangers whom a relay has brought together do not have the same code", async () => {
  // Other words; another number; another kind of meeting is refused before.
  const strangers: readonly (readonly [Rendezvous, string])[] = [
    [byCode(WRONG_CODE), "mismatch, mismatch"],
    [byCode(CODE.replace("481516", "481517")), "mismatch, mismatch"],
    [byCode(`${CODE}-ocean`), "mismatch, mismatch"],
    [{ kind: "resume", secret: new Uint8Array(32) }, "malformed, malformed"],
  ];
  for (const [rendezvous, expected] of strangers) {
    const relay = await relayed({}, { rendezvous });
    const { sender, receiver } = relay.ends;
    const passing = Promise.allSettled([pass(sender, receiver), pass(receiver, sender)]);
    await relay.sender.outcome;
    await relay.finish();
    await passing;
    const found = await outcomes(relay);
    // Which of the two refuses the other first is chance.
    if (expected.startsWith("malformed")) assert.match(found, /malformed/);
    else assert.equal(found, expected);
    for (const side of [relay.sender, relay.receiver]) {
      assert.equal(side.isProven, false);
      assert.equal(side.guesses, rendezvous.kind === "code" ? 1 : 0);
    }
  }
});

Deno.test("pair() that a relay cuts again and again has shown nothing but hellos before its one guess", async () => {
  // The same two, as often as the relay likes, until one of them has spent the code.
  let hellos = 0;
  for (let tries = 0; tries < 20; tries++) {
    const relay = await relayed();
    for (const end of Object.values(relay.ends)) {
      await exactly(end, CODE_HELLO_BYTES);
      hellos++;
    }
    await relay.finish();
    assert.equal(await outcomes(relay), "closed, closed");
    for (const side of [relay.sender, relay.receiver]) assert.deepEqual(side.secrets, []);
  }
  assert.equal(hellos, 40);
});
