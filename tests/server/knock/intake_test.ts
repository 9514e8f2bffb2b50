import assert from "node:assert/strict";
import type { ForwardMessage } from "../../../src/protocol/knock/forward_message.ts";
import { Intake } from "../../../src/server/knock/intake.ts";
import type { Spent } from "../../../src/server/knock/judge.ts";
import type { SpentReason } from "../../../src/server/knock/refusal.ts";
import { Log } from "../../../src/system/log.ts";
import { FakeClock, HOME_IP } from "./knocks.ts";

/** An intake whose disk and commander do what the test says. */
class Desk {
  readonly clock = new FakeClock();
  readonly lines: Record<string, unknown>[] = [];
  readonly forwarded: ForwardMessage[] = [];
  commit: () => Promise<void> = () => Promise.resolve();
  hasRoom = true;
  readonly intake = new Intake({
    commit: () => this.commit(),
    forward: (message) => {
      if (this.hasRoom) this.forwarded.push(message);
      return this.hasRoom;
    },
    log: new Log({
      role: "server",
      format: "json",
      write: (line) => this.lines.push(JSON.parse(line)),
      clock: this.clock,
    }),
    clock: this.clock,
  });
}

function spent(refusal: SpentReason | null, counter = 5n, key = "user"): Spent {
  return {
    kind: "spent",
    refusal,
    key,
    message: { commandHash: 0x9b93083959d8550an, ip: HOME_IP },
    counter,
    peer: HOME_IP,
  };
}

Deno.test("take() forwards a good packet after its floor is durable, and logs who, what and for whom", async () => {
  const desk = new Desk();
  const disk = Promise.withResolvers<void>();
  desk.commit = () => disk.promise;
  desk.intake.take(spent(null));
  await Promise.resolve();
  assert.equal(desk.forwarded.length, 0);
  assert.equal(desk.intake.uncommitted, 1);
  disk.resolve();
  await desk.intake.settled();
  assert.equal(desk.forwarded.length, 1);
  assert.deepEqual([desk.intake.accepted, desk.intake.uncommitted], [1, 0]);
  assert.deepEqual(desk.lines, [{
    time: "2027-01-01T00:00:00.000Z",
    level: "info",
    role: "server",
    message: "knock accepted",
    key: "user",
    command: "#9b93083959d8550a",
    ip: HOME_IP,
    peer: HOME_IP,
    counter: "5",
  }]);
});

for (const reason of ["command_not_allowed", "peer_rate", "key_rate", "global_rate"] as const) {
  Deno.test(`take() counts and logs ${reason} only once its floor is durable`, async () => {
    const desk = new Desk();
    const disk = Promise.withResolvers<void>();
    desk.commit = () => disk.promise;
    desk.intake.take(spent(reason));
    await Promise.resolve();
    assert.deepEqual([desk.intake.refused[reason], desk.lines.length], [0, 0]);
    disk.resolve();
    await desk.intake.settled();
    assert.equal(desk.intake.refused[reason], 1);
    assert.equal(desk.forwarded.length, 0);
    assert.deepEqual([desk.lines[0]?.["reason"], desk.lines[0]?.["counter"]], [reason, "5"]);
  });
}

Deno.test("take() refuses the whole batch of a failed commit for floor_not_durable, and says why", async () => {
  const desk = new Desk();
  desk.commit = () => Promise.reject(new Error("no space left on device"));
  desk.intake.take(spent(null));
  desk.intake.take(spent("peer_rate"));
  await desk.intake.settled();
  assert.equal(desk.intake.refused.floor_not_durable, 2);
  assert.equal(desk.intake.refused.peer_rate, 0);
  assert.equal(desk.forwarded.length, 0);
  assert.equal(desk.lines[0]?.["error"], "no space left on device");
});

Deno.test("take() refuses for queue_full when the commander is that far behind", async () => {
  const desk = new Desk();
  desk.hasRoom = false;
  desk.intake.take(spent(null));
  await desk.intake.settled();
  assert.deepEqual([desk.intake.refused.queue_full, desk.intake.accepted], [1, 0]);
});

Deno.test("take() keeps at most 64 packets of a key waiting for a disk that hangs, and frees their places", async () => {
  const desk = new Desk();
  const disk = Promise.withResolvers<void>();
  desk.commit = () => disk.promise;
  for (let n = 0; n < 100; n++) desk.intake.take(spent(null));
  assert.equal(desk.intake.uncommitted, 64);
  assert.equal(desk.intake.refused.floor_not_durable, 36);
  disk.resolve();
  await desk.intake.settled();
  assert.equal(desk.forwarded.length, 64);
  for (let n = 0; n < 64; n++) desk.intake.take(spent(null));
  await desk.intake.settled();
  assert.equal(desk.forwarded.length, 128);
  assert.equal(desk.intake.refused.floor_not_durable, 36);
});

Deno.test("take() never refuses a key's knock for what other keys have waiting", async () => {
  const desk = new Desk();
  const disk = Promise.withResolvers<void>();
  desk.commit = () => disk.promise;
  for (let key = 0; key < 40; key++) {
    for (let n = 0; n < 100; n++) desk.intake.take(spent("command_not_allowed", 5n, `restricted-${key}`));
  }
  desk.intake.take(spent(null));
  disk.resolve();
  await desk.intake.settled();
  assert.equal(desk.forwarded.length, 1);
});

Deno.test("take() logs of each reason five refusals at once and one in ten seconds, with the peer alone", () => {
  const desk = new Desk();
  for (let n = 0; n < 1000; n++) {
    desk.intake.take({ kind: "refused", reason: "unknown_key", peer: `::ffff:192.0.2.${n % 256}` });
  }
  desk.intake.take({ kind: "refused", reason: "replayed", peer: "2001:db8::1" });
  assert.equal(desk.intake.refused.unknown_key, 1000);
  assert.equal(desk.lines.length, 6);
  const { time: _, ...first } = desk.lines[0] ?? {};
  assert.deepEqual(first, {
    level: "warn",
    role: "server",
    message: "packet refused",
    reason: "unknown_key",
    peer: "192.0.2.0",
    suppressed: 0,
  });
  assert.equal(desk.lines[5]?.["reason"], "replayed");
  desk.clock.advance(10_000);
  desk.intake.take({ kind: "refused", reason: "unknown_key", peer: "192.0.2.1" });
  assert.deepEqual([desk.lines.length, desk.lines[6]?.["suppressed"]], [7, 995]);
});

Deno.test("take() lets no peer text, whatever the socket says, forge a field or a line", () => {
  const lines: string[] = [];
  const intake = new Intake({
    commit: () => Promise.resolve(),
    forward: () => true,
    log: new Log({ role: "server", format: "text", write: (line) => lines.push(line) }),
    clock: new FakeClock(),
  });
  intake.take({ kind: "refused", reason: "source", peer: "1.2.3.4 reason=ok\nERROR server: \u202eforged" });
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", / peer="1\.2\.3\.4 reason=ok\\nERROR server: \\u202eforged" suppressed=0\n$/);
});

Deno.test("take() counts what is held, and logs nothing", () => {
  const desk = new Desk();
  desk.intake.take({ kind: "held" });
  assert.deepEqual([desk.intake.held, desk.lines.length], [1, 0]);
});
