/** What pair() refuses before anybody has shown anything: no guess, whatever it is. */
import assert from "node:assert/strict";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { encodeHello, SHARE_BYTES } from "../../../src/protocol/transfer/hello.ts";
import { CONFIRMATION_MS, PAIRING_STEP_MS, RENEW_MS } from "../../../src/protocol/transfer/limits.ts";
import { PairingError, type Rendezvous, type TransferRole } from "../../../src/protocol/transfer/pairing.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { until } from "../../e2e/until.ts";
import spake2Vectors from "../../vectors/transfer-spake2.json" with { type: "json" };
import { FakeTimers } from "../rpc/fake_timers.ts";
import { byCode, CODE, CODE_HELLO_BYTES, Side, type SideOptions, Stranger } from "./pairing_sides.ts";

const ROLES: readonly TransferRole[] = ["sender", "receiver"];
const otherRole = (role: TransferRole): TransferRole => role === "sender" ? "receiver" : "sender";
const RESUMED: Rendezvous = { kind: "resume", secret: new Uint8Array(32).fill(7) };
const BOTH_WAYS: readonly Rendezvous[] = [byCode(CODE), RESUMED];

interface Met {
  readonly side: Side;
  readonly stranger: Stranger;
  readonly timers: FakeTimers;
}

function met(role: TransferRole, options: SideOptions = {}): Met {
  const [here, there] = memoryPair();
  const timers = new FakeTimers();
  return {
    side: new Side(role, here, { ...options, timers }),
    stranger: new Stranger(otherRole(role), there, CODE),
    timers,
  };
}

/** That it ended so, with the connection closed, memory told nothing, and no alarm left. */
async function refused({ side, timers }: Met, failure: string): Promise<PairingError> {
  assert.equal(await side.outcome, failure);
  assert.deepEqual(side.acts.slice(-1), ["close"]);
  assert.deepEqual(side.secrets, []);
  assert.equal(timers.pending, 0);
  assert(side.error instanceof PairingError);
  assert.equal(side.error.name, "PairingError");
  assert.match(side.error.message, /^cannot pair: [^.]*[^.\s]$/);
  return side.error;
}

/** What it ends with when that is said to it, after its own hello has come. */
async function afterSaying(role: TransferRole, bytes: Uint8Array, failure: string): Promise<void> {
  const meeting = met(role);
  await meeting.stranger.hear(CODE_HELLO_BYTES);
  await meeting.stranger.say(bytes);
  await refused(meeting, failure);
  assert.equal((await meeting.stranger.hearAll()).length, 0);
}

Deno.test("pair() refuses another of its own role", async () => {
  for (const role of ROLES) {
    for (const rendezvous of BOTH_WAYS) {
      const [a, b] = memoryPair();
      const sides: readonly Side[] = [a, b].map((end) => new Side(role, end, { rendezvous }));
      for (const side of sides) {
        assert.equal(await side.outcome, "same_role");
        assert.deepEqual(side.secrets, []);
      }
    }
  }
});

Deno.test("pair() refuses a side of its own instance, which is itself", async () => {
  const instance = systemRandomBytes(16);
  const [a, b] = memoryPair();
  for (const side of [new Side("sender", a, { instance }), new Side("receiver", b, { instance })]) {
    assert.equal(await side.outcome, "same_instance");
    assert.deepEqual(side.secrets, []);
  }
});

Deno.test("pair() refuses what it said itself, sent back as it was or as another's", async () => {
  for (const role of ROLES) {
    for (const rendezvous of BOTH_WAYS) {
      const helloBytes = 23 + SHARE_BYTES[rendezvous.kind];
      const failures = ["same_role", "same_instance", "reflected"];
      for (const [changes, failure] of failures.entries()) {
        const meeting = met(role, { rendezvous });
        const hello = await meeting.stranger.hear(helloBytes);
        if (changes >= 1) hello[6] = 3 - (hello[6] ?? 0);
        if (changes >= 2) hello[7] = 1 ^ (hello[7] ?? 0);
        await meeting.stranger.say(hello);
        await refused(meeting, failure);
      }
    }
  }
});

Deno.test("pair() resumed refuses its own nonce and its own key, each alone", async () => {
  for (const kept of [[23, 55], [55, 87]] as const) {
    const meeting = met("sender", { rendezvous: RESUMED });
    const own = await meeting.stranger.hear(87);
    const theirs = encodeHello({
      mode: "resume",
      role: "receiver",
      instance: systemRandomBytes(16),
      share: systemRandomBytes(64),
    });
    theirs.set(own.subarray(...kept), kept[0]);
    await meeting.stranger.say(theirs);
    await refused(meeting, "reflected");
  }
});

Deno.test("pair() refuses every element that python-spake2's vectors refuse, without a guess", async () => {
  const messages = spake2Vectors.refusals.filter(({ message }) => message.length === 2 * SHARE_BYTES.code);
  assert(messages.length > 40);
  for (const [at, { message }] of messages.entries()) {
    const role = ROLES[at % 2] ?? "sender";
    const { stranger } = met(role);
    const hello = stranger.hello.slice();
    hello.set(Uint8Array.fromHex(message), 23);
    await afterSaying(role, hello, "malformed");
  }
});

/** RFC 7748 and Daniel J. Bernstein's list: every u-coordinate of low order, below 2^255 and with the bit above it. */
const LOW_ORDER_U = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
].map((hex) => Uint8Array.fromHex(hex));

Deno.test("pair() resumed refuses every key that makes a shared secret of zeros", async () => {
  for (const point of LOW_ORDER_U) {
    for (const isHigh of [false, true]) {
      const key = isHigh ? point.with(31, (point[31] ?? 0) | 0x80) : point;
      for (const role of ROLES) {
        const meeting = met(role, { rendezvous: RESUMED });
        const share = Uint8Array.of(...systemRandomBytes(32), ...key);
        const instance = systemRandomBytes(16);
        await meeting.stranger.hear(87);
        await meeting.stranger.say(encodeHello({ mode: "resume", role: otherRole(role), instance, share }));
        await refused(meeting, "malformed");
      }
    }
  }
});

Deno.test("pair() resumed refuses a shared secret of zeros also in a runtime that gives one", async () => {
  const subtle = crypto.subtle;
  const deriveBits = subtle.deriveBits;
  const meeting = met("sender", { rendezvous: RESUMED });
  await meeting.stranger.hear(87);
  try {
    subtle.deriveBits = () => Promise.resolve(new ArrayBuffer(32));
    const share = systemRandomBytes(64), instance = systemRandomBytes(16);
    await meeting.stranger.say(encodeHello({ mode: "resume", role: "receiver", instance, share }));
    await refused(meeting, "malformed");
  } finally {
    subtle.deriveBits = deriveBits;
  }
});

Deno.test("pair() refuses garbage as soon as it is no hello any more", async () => {
  for (const role of ROLES) {
    await afterSaying(role, new TextEncoder().encode("HTTP/"), "malformed");
    await afterSaying(role, new Uint8Array(5), "malformed");
    await afterSaying(role, systemRandomBytes(65_536), "malformed");
    await afterSaying(role, new TextEncoder().encode("PSTN\x02"), "version");
    await afterSaying(role, new TextEncoder().encode("PSTN\x00"), "version");
    // Of the right length and form, for another way to pair.
    const instance = systemRandomBytes(16);
    const share = systemRandomBytes(64);
    await afterSaying(
      role,
      encodeHello({ mode: "resume", role: otherRole(role), instance, share }),
      "malformed",
    );
  }
});

Deno.test("pair() is closed when the other end goes, and says whether it has ever been heard", async () => {
  for (const role of ROLES) {
    // With the whole hello said, the receiver makes its guess; see pairing_guess_test.ts.
    const most = role === "sender" ? CODE_HELLO_BYTES : CODE_HELLO_BYTES - 1;
    for (let said = 0; said <= most; said++) {
      const meeting = met(role);
      await meeting.stranger.say(meeting.stranger.hello.subarray(0, said));
      meeting.stranger.leave();
      assert.equal((await refused(meeting, "closed")).heard, said > 0);
    }
  }
});

Deno.test("pair() waits for the first byte as long as it is told, and no longer", async () => {
  for (const [options, ms] of [[{}, RENEW_MS], [{ renewMs: 77 }, 77]] as const) {
    for (const role of ROLES) {
      const meeting = met(role, options);
      await until("it reads", () => meeting.side.log.includes("read 5"));
      await meeting.timers.pass(ms - 1);
      assert.equal(meeting.side.error, null);
      await meeting.timers.pass(1);
      assert.equal((await refused(meeting, "nobody")).heard, false);
    }
  }
});

Deno.test("pair() that cannot even say hello ends like one that meets nobody", async () => {
  const [here, there] = memoryPair();
  const timers = new FakeTimers();
  // 256 KiB wait in the connection before a write does.
  await here.write(new Uint8Array(256 * 1024));
  const side = new Side("sender", here, { timers });
  await until("it reads", () => side.log.includes("read 5"));
  await timers.pass(RENEW_MS);
  assert.equal(await side.outcome, "nobody");
  there.close();
});

Deno.test("pair() waits 3 seconds for the rest of the hello once the first byte has come", async () => {
  for (const [options, ms] of [[{}, PAIRING_STEP_MS], [{ stepMs: 55 }, 55]] as const) {
    for (const said of [1, 5, 22, 23, 55]) {
      const meeting = met("receiver", options);
      await meeting.timers.pass(RENEW_MS - 1);
      await meeting.stranger.say(meeting.stranger.hello.subarray(0, said));
      await meeting.timers.pass(ms - 1);
      assert.equal(meeting.side.error, null);
      await meeting.timers.pass(1);
      assert.equal((await refused(meeting, "silent")).heard, true);
    }
  }
});

Deno.test("pair() as the sender waits 15 seconds for the whole confirmation, which it has not looked at", async () => {
  for (const said of [0, 1, 4, 51]) {
    const meeting = met("sender");
    await meeting.stranger.greet();
    await until("it waits for the confirmation", () => meeting.side.log.includes("read 4"));
    await meeting.stranger.say((await meeting.stranger.confirmation()).subarray(0, said));
    await meeting.timers.pass(CONFIRMATION_MS - 1);
    assert.equal(meeting.side.error, null);
    await meeting.timers.pass(1);
    await refused(meeting, "silent");
  }
});

Deno.test("pair() does not wait longer for a side that says a byte now and then", async () => {
  const meeting = met("receiver");
  for (let at = 0; at < 29; at++) {
    await meeting.stranger.say(meeting.stranger.hello.subarray(at, at + 1));
    await meeting.timers.pass(100);
    assert.equal(meeting.side.error, null, `after ${at + 1} bytes`);
  }
  await meeting.stranger.say(meeting.stranger.hello.subarray(29, 30));
  await meeting.timers.pass(100);
  await refused(meeting, "silent");
});

Deno.test("pair() as the sender refuses a confirmation of another length without looking at it", async () => {
  for (const length of [0, 16, 47, 49, 1024 * 1024 + 16, 1024 * 1024 + 17, 2 ** 32 - 1]) {
    const meeting = met("sender");
    await meeting.stranger.greet();
    const head = new Uint8Array(4);
    new DataView(head.buffer).setUint32(0, length);
    await meeting.stranger.say(head);
    await refused(meeting, "malformed");
    // Nothing was read, and so nothing set aside, for what the length says.
    const longest = Math.max(
      ...meeting.side.log.map((entry) => Number(/^read (\d+)$/.exec(entry)?.[1] ?? 0)),
    );
    assert.equal(longest, 33);
  }
});

Deno.test("pair() throws when the instance is not one, and says nothing", async () => {
  const meeting = met("sender", { instance: new Uint8Array(15) });
  assert.match(await meeting.side.outcome, /^TypeError: /);
  assert.deepEqual(meeting.side.log, ["close"]);
});

// Resumed, whatever goes wrong is a try that failed, and no more.

Deno.test("pair() resumed with another secret, or with anything but a confirmation, is no mismatch", async () => {
  const [a, b] = memoryPair();
  const other: Rendezvous = { kind: "resume", secret: new Uint8Array(32).fill(8) };
  const sides = [
    new Side("sender", a, { rendezvous: RESUMED }),
    new Side("receiver", b, { rendezvous: other }),
  ];
  assert.deepEqual(await Promise.all(sides.map(({ outcome }) => outcome)), ["malformed", "malformed"]);
  for (const { secrets } of sides) assert.deepEqual(secrets, []);
  for (const [answer, failure] of [[new Uint8Array(52), "malformed"], [null, "closed"]] as const) {
    const meeting = met("receiver", { rendezvous: RESUMED });
    await meeting.stranger.hear(87);
    const share = systemRandomBytes(64), instance = systemRandomBytes(16);
    await meeting.stranger.say(encodeHello({ mode: "resume", role: "sender", instance, share }));
    await meeting.stranger.hear(52);
    if (answer === null) meeting.stranger.leave();
    else await meeting.stranger.say(answer);
    await refused(meeting, failure);
  }
});

Deno.test("pair() resumed is silent when the confirmation does not come, on either side", async () => {
  for (const role of ROLES) {
    const meeting = met(role, { rendezvous: RESUMED });
    await meeting.stranger.hear(87);
    const share = systemRandomBytes(64), instance = systemRandomBytes(16);
    await meeting.stranger.say(encodeHello({ mode: "resume", role: otherRole(role), instance, share }));
    await until("it waits for the confirmation", () => meeting.side.log.includes("read 4"));
    await meeting.timers.pass(CONFIRMATION_MS - 1);
    assert.equal(meeting.side.error, null);
    await meeting.timers.pass(1);
    await refused(meeting, "silent");
  }
});

Deno.test("pair() resumed takes no dialogue of an earlier session", async () => {
  const record = async (): Promise<readonly [Uint8Array, Uint8Array]> => {
    const [a, b] = memoryPair(), [c, d] = memoryPair();
    const sides = [
      new Side("sender", a, { rendezvous: RESUMED }),
      new Side("receiver", d, { rendezvous: RESUMED }),
    ];
    const said = { sender: [] as number[], receiver: [] as number[] };
    const carry = async (from: typeof b, to: typeof c, bytes: number[]): Promise<void> => {
      const buffer = new Uint8Array(1024);
      for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
        bytes.push(...buffer.subarray(0, count));
        await to.write(buffer.slice(0, count));
      }
    };
    const carrying = Promise.allSettled([carry(b, c, said.sender), carry(c, b, said.receiver)]);
    for (const { outcome } of sides) assert.equal(await outcome, "paired");
    for (const end of [a, d]) end.close();
    await carrying;
    return [Uint8Array.from(said.sender), Uint8Array.from(said.receiver)];
  };
  const [senders, receivers] = await record();
  assert.equal(senders.length, 87 + 52);
  assert.equal(receivers.length, 87 + 52);
  for (const [role, replayed] of [["sender", receivers], ["receiver", senders]] as const) {
    const meeting = met(role, { rendezvous: RESUMED });
    await meeting.stranger.say(replayed);
    await refused(meeting, "malformed");
  }
});
