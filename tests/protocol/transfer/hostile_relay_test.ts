/** A relay that does everything a relay can do, and what both sides make of it. Each schedule is that of its seed. */
import assert from "node:assert/strict";
import { type Act, CONNECTION_ACTS, CUTTING_ACTS, HostileRelay, WIRE_ACTS } from "./hostile_relay.ts";
import { assertArrived, type Party, World } from "./memory_relay_parties.ts";
import { MemorySink } from "./memory_sink.ts";

const HELLO_BYTES = 56;
const IDENTIFIER_BYTES = 33;
const GRACE_MS = 150_000;
const WAIT_MS = 150_000;
/** Twice waiting, the grace time, and what is under way at the end of it. */
const END_MS = 2 * WAIT_MS + GRACE_MS + 60_000;
const ALL_ACTS: readonly Act[] = [...CONNECTION_ACTS, ...WIRE_ACTS];
const MAX_TIMES = 5;

/** A world with such a relay. */
function hostileWorld(
  seed: number,
  options: { acts: readonly Act[]; times?: number; oneIn?: number },
): { world: World; relay: HostileRelay } {
  const world = new World(seed);
  const { dice, clock, code: { nameplate } } = world;
  const { times = 1 + dice.below(MAX_TIMES) } = options;
  const relay = new HostileRelay({ ...options, dice, clock, relay: world.relay, times, nameplate });
  world.relay.policy = relay;
  return { world, relay };
}

const LIMITS = { graceMs: GRACE_MS, waitMs: WAIT_MS };

/** Until everybody has ended, strangers too. */
async function ended({ world, relay }: { world: World; relay: HostileRelay }): Promise<void> {
  await world.ended(END_MS);
  await world.clock.settle([relay.idle()], 60_000);
}

/** What must be so whatever a relay does. */
function assertSafe({ world, relay }: { world: World; relay: HostileRelay }, admits: number = 1): void {
  for (const { outcome, who } of world.parties) {
    assert.equal(typeof outcome, "string", `${who} failed without a name: ${JSON.stringify(outcome)}`);
    assert.notEqual(outcome, "running");
  }
  assert.equal(relay.strangersPaired, 0);
  for (const party of world.parties) assertGuesses(party, world, party.who === "sender" ? admits : 1);
  world.assertNothingLeft();
}

/** At most one guess that failed, and none after it: by what was written down, and by what the relay has seen. */
function assertGuesses({ who, book }: Party, { relay }: World, admits: number): void {
  const acts = book.lines.map(({ act }) => act).join(" ");
  assert.match(acts, /^(spend proven ?)*(spend)?$/, `${who} goes on after a guess: ${acts}`);
  assert(book.spent <= admits, `${who} has written down ${book.spent} guesses`);
  const traces = relay.traces.filter((each) => each.who === who);
  const confirmed = traces.filter(({ type, writtenBytes }) =>
    type === 1 && writtenBytes > IDENTIFIER_BYTES + HELLO_BYTES
  );
  assert(confirmed.length <= book.spent, `${who} has confirmed ${confirmed.length} times`);
  // A sender shows nothing of a guess that was wrong, and has ended with it.
  const last = book.failed === 0 && book.spent === admits ? confirmed.at(-1)?.number ?? 0 : Infinity;
  assert(traces.every(({ type, number }) => type === 2 || number <= last), `${who} has used the code again`);
}

/** Runs that many schedules; gives back how often each outcome was seen. */
async function schedules(
  count: number,
  run: (seed: number) => Promise<string>,
): Promise<Map<string, number>> {
  const seen = new Map<string, number>();
  for (let seed = 1; seed <= count; seed++) {
    try {
      const outcome = await run(seed);
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
    } catch (error) {
      throw new Error(`with seed ${seed}`, { cause: error });
    }
  }
  return seen;
}

/** The schedules do reach what they are meant to reach. */
function assertSeen(seen: Map<string, number>, outcomes: readonly RegExp[]): void {
  for (const outcome of outcomes) {
    assert(
      [...seen.keys()].some((each) => outcome.test(each)),
      `${outcome} is never reached: ${[...seen].join()}`,
    );
  }
}

function outcomesOf(...parties: readonly Party[]): string {
  return parties.map(({ outcome }) => outcome).join(" ");
}

Deno.test("whatever a relay does: one guess, nothing wrong arrives, and nothing hangs or is left behind", async () => {
  const seen = await schedules(700, async (seed) => {
    const hostile = hostileWorld(seed, { acts: ALL_ACTS });
    const { world } = hostile;
    const sender = world.sender(LIMITS);
    await world.clock.pass(world.dice.below(30_000));
    const receiver = world.receiver(LIMITS);
    await ended(hostile);
    assertSafe(hostile);
    if (sender.outcome === "done" || receiver.outcome === "done") assertArrived(world.sink, world.tree);
    return outcomesOf(sender, receiver);
  });
  assertSeen(seen, [
    /^done done$/,
    /^mismatch mismatch$/,
    /^absent mismatch$/,
    /^mismatch absent$/,
    /^lost mismatch$/,
  ]);
  assertSeen(seen, [/^tampered tampered$/]);
});

Deno.test("a relay that guesses on every connection, and cuts each try, wins one guess from a sender or a receiver", async () => {
  const acts: readonly Act[] = ["stranger", "cut", "end", "drop", "double", "reorder", "flip", "swap"];
  let shown = 0;
  const seen = await schedules(800, async (seed) => {
    const hostile = hostileWorld(seed, { acts, times: 12, oneIn: 1 });
    const { world, relay } = hostile;
    const side = seed % 2 === 0 ? world.sender(LIMITS) : world.receiver(LIMITS);
    await ended(hostile);
    assertSafe(hostile);
    assert(relay.strangersShown <= side.book.spent, `${relay.strangersShown} were shown a confirmation`);
    const accepted = side.book.spent === 1 ? ["mismatch"] : ["absent", "version"];
    assert(accepted.includes(String(side.outcome)), String(side.outcome));
    shown += relay.strangersShown;
    return `${side.who} ${side.outcome} ${relay.strangersShown}`;
  });
  assert(shown > 100, `only ${shown} came so far`);
  assertSeen(seen, [
    /^receiver mismatch 1$/,
    /^receiver mismatch 0$/,
    /^sender mismatch 0$/,
    /^sender absent 0$/,
  ]);
});

Deno.test("whatever a relay does to a sender with several receivers: none is let in after a guess", async () => {
  const acts: readonly Act[] = [...ALL_ACTS, ...Array.from({ length: 8 }, (): Act => "stranger")];
  const seen = await schedules(60, async (seed) => {
    const hostile = hostileWorld(seed, { acts });
    const { world } = hostile;
    const sender = world.sender({ ...LIMITS, receivers: 2 });
    const sinks = [new MemorySink(), new MemorySink()], receivers: Party[] = [];
    for (const [index, sink] of sinks.entries()) {
      await world.clock.pass(world.dice.below(60_000));
      receivers.push(world.receiver({ ...LIMITS, who: `receiver ${index}`, sink }));
    }
    await ended(hostile);
    assertSafe(hostile, 2);
    for (const [index, sink] of sinks.entries()) {
      const isDone = [sender, receivers[index]].some((each) => each?.outcome === "done");
      if (isDone) assertArrived(sink, world.tree);
    }
    return outcomesOf(sender, ...receivers);
  });
  assertSeen(seen, [/^done done done$/, /^mismatch done absent$/, /^mismatch absent absent$/]);
});

Deno.test("a relay that brings strangers together: two transfers, neither of which gets anything of the other", async () => {
  const acts: readonly Act[] = ["cross", "cross", "cross", "cross", "ghost", "mirror", "replay", "never"];
  const seen = await schedules(100, async (seed) => {
    const hostile = hostileWorld(seed, { acts });
    const { world } = hostile;
    const other = new World(seed + 1_000_000), sink = new MemorySink();
    const rendezvous = { kind: "code", code: other.code } as const;
    const begin = [
      () => world.sender(LIMITS),
      () => world.sender({ ...LIMITS, who: "sender 2", code: other.code, source: other.source }),
      () => world.receiver(LIMITS),
      () => world.receiver({ ...LIMITS, who: "receiver 2", rendezvous, sink }),
    ];
    for (const each of begin) {
      each();
      await world.clock.pass(world.dice.below(10_000));
    }
    await ended(hostile);
    assertSafe(hostile);
    const [, , first, second] = world.parties;
    if (first?.outcome === "done") assertArrived(world.sink, world.tree);
    if (second?.outcome === "done") assertArrived(sink, other.tree);
    return outcomesOf(...world.parties);
  });
  assertSeen(seen, [/^done done done done$/, /^mismatch mismatch mismatch mismatch$/]);
});

Deno.test("cuts and delays that end: everything arrives, unless the receiver's one guess was lost with a link", async () => {
  const seen = await schedules(220, async (seed) => {
    const hostile = hostileWorld(seed, { acts: CUTTING_ACTS });
    const { world } = hostile;
    const sender = world.sender(LIMITS);
    await world.clock.pass(world.dice.below(30_000));
    const receiver = world.receiver(LIMITS);
    await ended(hostile);
    assertSafe(hostile);
    if (receiver.book.failed === 0) assertArrived(world.sink, world.tree);
    return outcomesOf(sender, receiver);
  });
  // The guess did not reach the sender; or it did, and every link by which the two look for each other then was cut too.
  const lost = seen.get("lost mismatch") ?? 0;
  seen.delete("lost mismatch");
  assert.deepEqual([...seen.keys()].sort(), ["absent mismatch", "done done"]);
  assert(lost <= 2, `${lost} right guesses were lost with their answers`);
});

Deno.test("cuts and delays that end, once both have paired: everything arrives, always, and nothing twice", async () => {
  const seen = await schedules(120, async (seed) => {
    const hostile = hostileWorld(seed, { acts: CUTTING_ACTS });
    const { world, relay } = hostile;
    world.relay.policy = {};
    const sender = world.sender(LIMITS), receiver = world.receiver(LIMITS);
    world.slowDown();
    await world.until("both are paired", () => world.resumeSecret !== null);
    world.relay.policy = relay;
    world.relay.cut();
    await ended(hostile);
    assertSafe(hostile);
    assertArrived(world.sink, world.tree);
    return outcomesOf(sender, receiver);
  });
  assert.deepEqual([...seen.keys()], ["done done"]);
});
