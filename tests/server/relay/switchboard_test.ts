/** Every limit as a scripted sequence; time is an argument. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Located } from "../../../src/server/relay/room.ts";
import type { Staple } from "../../../src/server/relay/staple.ts";
import { type Outcome, type Refusal, REFUSALS, Switchboard } from "../../../src/server/relay/switchboard.ts";
import { holds } from "../../property.ts";
import { limitsOf, type LimitsOptions } from "./wide_limits.ts";

class Somebody implements Located {
  readonly network: string;

  constructor(network = "192.0.2.1/32") {
    this.network = network;
  }
}

const HOME = "192.0.2.1/32";
const ELSEWHERE = "2001:db8::/64";

/** A switchboard and a clock to talk about. */
class Scene {
  readonly board: Switchboard<Somebody>;
  nowMs = 1000;

  constructor(limits: LimitsOptions = {}) {
    this.board = new Switchboard(limitsOf(limits));
  }

  arrive(network = HOME): Somebody {
    const somebody = new Somebody(network);
    assert.equal(this.board.arrive(somebody, this.nowMs), null);
    return somebody;
  }

  /** Somebody who arrives and says an identifier. */
  come(identifier: string, network = HOME): { somebody: Somebody; outcome: Outcome<Somebody> } {
    const somebody = this.arrive(network);
    return { somebody, outcome: this.board.identify(somebody, identifier, this.nowMs) };
  }

  park(identifier: string, network = HOME): Somebody {
    const { somebody, outcome } = this.come(identifier, network);
    assert.equal(outcome.kind, "parked");
    return somebody;
  }

  staple(identifier: string, network = HOME): Staple<Somebody> {
    const { outcome } = this.come(identifier, network);
    assert(outcome.kind === "stapled", outcome.kind);
    return outcome.staple;
  }

  /** Why somebody who says this identifier is refused. */
  refusal(identifier: string, network = HOME): Refusal {
    const { outcome } = this.come(identifier, network);
    assert(outcome.kind === "refused", outcome.kind);
    return outcome.reason;
  }

  /** Lets time pass; who is sent away. */
  pass(ms: number): { callers: readonly Somebody[]; staples: readonly Staple<Somebody>[] } {
    this.nowMs += ms;
    return this.board.expire(this.nowMs);
  }

  get sizes(): [arriving: number, parked: number, staples: number] {
    return [this.board.arriving, this.board.parked, this.board.staples];
  }
}

Deno.test("identify() parks the first with an identifier and staples the second to it", () => {
  const scene = new Scene();
  const first = scene.park("a");
  assert.deepEqual(scene.sizes, [0, 1, 0]);
  scene.park("b");
  const second = scene.arrive();
  assert.deepEqual(scene.sizes, [1, 2, 0]);
  const outcome = scene.board.identify(second, "a", scene.nowMs);
  assert(outcome.kind === "stapled");
  assert.equal(outcome.staple.callers[0], first);
  assert.equal(outcome.staple.callers[1], second);
  assert.deepEqual(scene.sizes, [0, 1, 1]);
});

Deno.test("identify() parks a third with the identifier of a stapled pair, and staples a fourth to it", () => {
  const scene = new Scene();
  scene.park("a");
  const pair = scene.staple("a");
  const third = scene.park("a");
  assert.deepEqual(scene.sizes, [0, 1, 1]);
  const other = scene.staple("a");
  assert.equal(other.callers[0], third);
  assert.notEqual(other, pair);
  assert.deepEqual(scene.sizes, [0, 0, 2]);
});

Deno.test("leave() unparks at once, so that the identifier is free and nobody is stapled to a ghost", () => {
  const scene = new Scene();
  const ghost = scene.park("a");
  scene.board.leave(ghost);
  scene.board.leave(ghost);
  assert.deepEqual(scene.sizes, [0, 0, 0]);
  const living = scene.park("a");
  // Once more, late: it must not take the identifier of somebody else with it.
  scene.board.leave(ghost);
  assert.equal(scene.staple("a").callers[0], living);
});

Deno.test("arrive() refuses beyond the limit, and again when somebody has said who it is", () => {
  const scene = new Scene({ arriving: { max: 2 } });
  const first = scene.arrive();
  scene.arrive();
  assert.equal(scene.board.arrive(new Somebody(), scene.nowMs), "arriving_full");
  scene.board.identify(first, "a", scene.nowMs);
  const next = scene.arrive();
  assert.equal(scene.board.arrive(new Somebody(), scene.nowMs), "arriving_full");
  scene.board.leave(next);
  scene.arrive();
});

Deno.test("arrive() refuses a network beyond its share, and no other", () => {
  const scene = new Scene({ arriving: { max: 10, maxPerNetwork: 2 } });
  scene.arrive(HOME);
  scene.arrive(HOME);
  assert.equal(scene.board.arrive(new Somebody(HOME), scene.nowMs), "arriving_share");
  scene.arrive(ELSEWHERE);
});

Deno.test("identify() parks no more than the limit, and still staples to those who are parked", () => {
  const scene = new Scene({ parked: { max: 2 } });
  scene.park("a");
  scene.park("b");
  assert.equal(scene.refusal("c"), "parked_full");
  assert.deepEqual(scene.sizes, [0, 2, 0]);
  scene.staple("a");
  scene.park("c");
});

Deno.test("identify() parks of one network no more than its share, and gives it back", () => {
  const scene = new Scene({ parked: { max: 10, maxPerNetwork: 1 } });
  const first = scene.park("a", HOME);
  assert.equal(scene.refusal("b", HOME), "parked_share");
  scene.park("b", ELSEWHERE);
  scene.board.leave(first);
  scene.park("c", HOME);
  // Being stapled gives it back as well.
  scene.staple("c", ELSEWHERE);
  scene.park("d", HOME);
});

Deno.test("identify() staples no more than the limit; whoever is parked stays so", () => {
  const scene = new Scene({ staples: { max: 1 } });
  scene.park("a");
  const pair = scene.staple("a");
  const waiting = scene.park("b");
  assert.equal(scene.refusal("b"), "staples_full");
  assert.deepEqual(scene.sizes, [0, 1, 1]);
  scene.board.end(pair);
  scene.board.end(pair);
  assert.equal(scene.staple("b").callers[0], waiting);
});

Deno.test("identify() staples of one network no more than its share, whichever end is its", () => {
  const scene = new Scene({ staples: { max: 10, maxPerNetwork: 2 } });
  // Both ends of one network are one staple of it.
  scene.park("a", HOME);
  const pair = scene.staple("a", HOME);
  scene.park("a", HOME);
  scene.staple("a", HOME);
  scene.park("b", HOME);
  assert.equal(scene.refusal("b", ELSEWHERE), "staples_share");
  scene.park("c", ELSEWHERE);
  assert.equal(scene.refusal("c", HOME), "staples_share");
  scene.staple("c", ELSEWHERE);
  scene.board.end(pair);
  scene.park("d", HOME);
  scene.staple("d", "198.51.100.1/32");
});

Deno.test("expire() sends away who does not say its identifier in time, counted from its arrival", () => {
  const scene = new Scene({ arriving: { timeMs: 10_000 } });
  const early = scene.arrive();
  scene.pass(4000);
  const late = scene.arrive();
  assert.deepEqual(scene.pass(5999).callers, []);
  assert.deepEqual(scene.pass(1).callers, [early]);
  assert.deepEqual(scene.sizes, [1, 0, 0]);
  assert.deepEqual(scene.pass(4000).callers, [late]);
  assert.deepEqual(scene.sizes, [0, 0, 0]);
  assert.deepEqual(scene.board.counts.timedOut, { arriving: 2, parked: 0, idle: 0 });
});

Deno.test("expire() sends away who was parked too long, counted from the parking, and frees its identifier", () => {
  const scene = new Scene({ parked: { timeMs: 300_000 } });
  const slow = scene.arrive();
  scene.pass(9000);
  scene.board.identify(slow, "a", scene.nowMs);
  assert.deepEqual(scene.pass(299_999).callers, []);
  assert.deepEqual(scene.pass(1).callers, [slow]);
  assert.deepEqual(scene.sizes, [0, 0, 0]);
  scene.park("a");
  assert.deepEqual(scene.board.counts.timedOut, { arriving: 0, parked: 1, idle: 0 });
});

Deno.test("expire() ends a staple in which no byte has moved, and none in which one has", () => {
  const scene = new Scene({ staples: { timeMs: 300_000 } });
  scene.park("a");
  const idle = scene.staple("a");
  scene.park("b");
  const alive = scene.staple("b");
  assert.deepEqual(scene.pass(150_000).staples, []);
  alive.bytes++;
  assert.deepEqual(scene.pass(149_999).staples, []);
  assert.deepEqual(scene.pass(1).staples, [idle]);
  assert.deepEqual(scene.sizes, [0, 0, 1]);
  // Its byte was seen one step later than it moved.
  assert.deepEqual(scene.pass(299_998).staples, []);
  assert.deepEqual(scene.pass(1).staples, [alive]);
  assert.equal(scene.board.counts.timedOut.idle, 2);
});

Deno.test("counts have everybody who came, and bytes of staples that are and of those that were", () => {
  const scene = new Scene({ parked: { max: 1 } });
  scene.park("a");
  const first = scene.staple("a");
  scene.park("b");
  assert.equal(scene.refusal("c"), "parked_full");
  const second = scene.staple("b");
  first.bytes += 1000;
  scene.board.end(first);
  second.bytes += 24;
  assert.deepEqual(scene.board.counts, {
    admitted: 5,
    parkedTotal: 2,
    stapledTotal: 2,
    refused: { ...Object.fromEntries(REFUSALS.map((each) => [each, 0])), parked_full: 1 },
    timedOut: { arriving: 0, parked: 0, idle: 0 },
    bytes: 1024,
  });
});

Deno.test("everybody() has who arrives, who is parked and both ends of each staple", () => {
  const scene = new Scene();
  const arriving = scene.arrive();
  const parked = scene.park("a");
  scene.park("b");
  const { callers } = scene.staple("b");
  assert.deepEqual(new Set(scene.board.everybody()), new Set([arriving, parked, ...callers]));
});

/** What can happen, with whom: an index into those who are there. */
const happening = fc.oneof(
  fc.record({ what: fc.constant("arrive" as const), at: fc.nat(3) }),
  fc.record({
    what: fc.constant("identify" as const),
    at: fc.nat(),
    identifier: fc.constantFrom("a", "b", "c"),
  }),
  fc.record({ what: fc.constant("leave" as const), at: fc.nat() }),
  fc.record({ what: fc.constant("end" as const), at: fc.nat() }),
  fc.record({ what: fc.constant("pass" as const), at: fc.nat(60) }),
);

Deno.test("Switchboard holds its limits and forgets nobody's share, whatever happens in whatever order", () => {
  const limits = limitsOf({
    arriving: { max: 4, maxPerNetwork: 2, timeMs: 50 },
    parked: { max: 3, maxPerNetwork: 2, timeMs: 90 },
    staples: { max: 2, maxPerNetwork: 1, timeMs: 70 },
  });
  holds(fc.property(fc.array(happening, { maxLength: 120 }), (happenings) => {
    const board = new Switchboard<Somebody>(limits);
    const there: Somebody[] = [];
    const parked: Somebody[] = [];
    const staples: Staple<Somebody>[] = [];
    const drop = <T>(list: T[], gone: readonly T[]): void => {
      for (const each of gone) if (list.includes(each)) list.splice(list.indexOf(each), 1);
    };
    let nowMs = 0;
    for (const each of happenings) {
      if (each.what === "arrive") {
        const somebody = new Somebody(`192.0.2.${each.at}/32`);
        const mine = there.filter(({ network }) => network === somebody.network).length;
        const refusal = board.arrive(somebody, nowMs);
        assert.equal(refusal, there.length === 4 ? "arriving_full" : mine === 2 ? "arriving_share" : null);
        if (refusal === null) there.push(somebody);
      } else if (each.what === "identify" && there.length > 0) {
        const [somebody] = there.splice(each.at % there.length, 1);
        assert(somebody !== undefined);
        const outcome = board.identify(somebody, each.identifier, nowMs);
        if (outcome.kind === "parked") parked.push(somebody);
        if (outcome.kind === "stapled") {
          assert(parked.includes(outcome.staple.callers[0]), "stapled to somebody who was not parked");
          drop(parked, outcome.staple.callers);
          staples.push(outcome.staple);
        }
      } else if (each.what === "leave" && there.length + parked.length > 0) {
        const somebody = [...there, ...parked][each.at % (there.length + parked.length)];
        assert(somebody !== undefined);
        board.leave(somebody);
        drop(there, [somebody]);
        drop(parked, [somebody]);
      } else if (each.what === "end" && staples.length > 0) {
        const [staple] = staples.splice(each.at % staples.length, 1);
        assert(staple !== undefined);
        board.end(staple);
      } else if (each.what === "pass") {
        nowMs += each.at;
        const gone = board.expire(nowMs);
        drop(there, gone.callers);
        drop(parked, gone.callers);
        drop(staples, gone.staples);
      }
      assert.deepEqual([board.arriving, board.parked, board.staples], [
        there.length,
        parked.length,
        staples.length,
      ]);
      assert(board.parked <= 3 && board.staples <= 2);
      for (const network of new Set(parked.map((one) => one.network))) {
        assert(parked.filter((one) => one.network === network).length <= 2);
      }
    }
    // Whatever had been taken is given back: all places are there again.
    for (const somebody of [...there, ...parked]) board.leave(somebody);
    for (const staple of staples) board.end(staple);
    for (let n = 0; n < 4; n++) {
      assert.equal(board.arrive(new Somebody(`192.0.2.${n % 2}/32`), nowMs), null);
    }
  }));
});
