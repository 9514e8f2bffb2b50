import assert from "node:assert/strict";
import fc from "fast-check";
import { LinkError } from "../../../src/protocol/manage/frame.ts";
import { FlowState, MAX_CREDIT_BYTES } from "../../../src/protocol/manage/flow_state.ts";
import { holds } from "../../property.ts";

/**
 * The rules again, as one would tell them: what was said on this number since it was last opened, in order, and
 * questions about that list. Slow, without any state of its own.
 */
class Story {
  said: Said[] = [];
  wasUsed = false;
  readonly isOurs: boolean;

  constructor(isOurs: boolean) {
    this.isOurs = isOurs;
  }

  has(who: Said["who"], ...what: Said["what"][]): boolean {
    return this.said.some((each) => each.who === who && what.includes(each.what));
  }

  sum(who: Said["who"], what: Said["what"]): number {
    return this.said.reduce(
      (sum, each) => sum + (each.who === who && each.what === what ? each.bytes : 0),
      0,
    );
  }

  get opener(): Said["who"] {
    return this.isOurs ? "we" : "they";
  }

  get isOpened(): boolean {
    return this.said.some((each) => each.what === "opened");
  }

  get phase(): string {
    if (this.said.length === 0) return "free";
    if (this.isOpened) return "open";
    return this.isOurs ? "opening" : "offered";
  }

  /** What they may still send. */
  get allowed(): number {
    const window = this.sum("we", this.isOurs ? "open" : "opened");
    return window + this.sum("we", "credit") - this.sum("they", "data");
  }

  get credit(): number {
    const window = this.sum("they", this.isOurs ? "opened" : "open");
    return window + this.sum("they", "credit") - this.sum("we", "data");
  }

  get isGivenUp(): boolean {
    return this.has("we", "will reset");
  }

  /** What this side wants to say last. */
  get closing(): string {
    if (this.isGivenUp) return "reset";
    return this.has("we", "will end") ? "end" : "nothing";
  }

  settle(): void {
    if (!this.has("we", "end", "reset") || !this.has("they", "end", "reset")) return;
    this.wasUsed = true;
    this.said = [];
  }
}

interface Said {
  readonly who: "we" | "they";
  readonly what:
    | "open"
    | "opened"
    | "data"
    | "credit"
    | "end"
    | "reset"
    | "will end"
    | "will reset";
  readonly bytes: number;
}

type Verdict = "counts" | "dropped" | "broken";

/** What a frame of theirs means after this story. */
function verdictOn(story: Story, what: Said["what"], bytes: number, isAfterEnd: boolean): Verdict {
  const { phase } = story;
  if (what === "credit" && bytes === 0) return "broken";
  if (what === "open") return !story.isOurs && phase === "free" ? "counts" : "broken";
  if (phase === "free") return story.wasUsed ? "dropped" : "broken";
  const isStale = phase === "opening" && (what === "credit" || (what === "reset" && isAfterEnd));
  if (isStale) return story.wasUsed ? "dropped" : "broken";
  if (story.has("they", "reset")) return "broken";
  if (what === "reset") {
    if (isAfterEnd !== story.has("they", "end")) return "broken";
    return story.isGivenUp ? "dropped" : "counts";
  }
  if (what === "opened") {
    if (phase === "opening") return story.isGivenUp ? "dropped" : "counts";
    return story.isGivenUp ? "dropped" : "broken";
  }
  if (phase !== "open") return story.isGivenUp ? "dropped" : "broken";
  if (story.has("they", "end") && what !== "credit") return "broken";
  if (story.isGivenUp) return "dropped";
  if (what === "data" && bytes > story.allowed) return "broken";
  if (what === "credit" && story.credit + bytes > MAX_CREDIT_BYTES) return "broken";
  return "counts";
}

/** Puts a frame of theirs into the story. */
function hear(story: Story, what: Said["what"], bytes: number, isAfterEnd: boolean, verdict: Verdict): void {
  if (story.said.length === 0 && what !== "open") return;
  if (what === "reset" && isAfterEnd && story.phase === "opening") return;
  const stays = verdict === "counts" || what === "reset" || (what === "end" && story.phase === "open") ||
    (what === "opened" && story.phase === "opening");
  if (!stays) return;
  story.said.push({ who: "they", what, bytes });
  if (what === "reset" && verdict === "counts" && !story.has("we", "end", "reset")) {
    story.said.push({ who: "we", what: "will reset", bytes: 0 });
  }
  story.settle();
}

interface Step {
  readonly does: string;
  readonly bytes: number;
  readonly isAfterEnd: boolean;
}

/** What this side may do now; the rest of the link sees to it that nothing else is done. */
function actOn(state: FlowState, story: Story, { does, bytes }: Step): void {
  const say = (what: Said["what"], count = 0): void => {
    story.said.push({ who: "we", what, bytes: count });
  };
  const isUndecided = !story.has("we", "will end", "will reset");
  if (does === "open" && story.isOurs && story.phase === "free") {
    state.open(bytes);
    say("open", bytes);
  } else if (does === "accept" && story.phase === "offered" && isUndecided) {
    state.accept(bytes);
    say("opened", bytes);
  } else if (does === "send" && story.phase === "open" && isUndecided && bytes <= story.credit) {
    state.sentData(bytes);
    say("data", bytes);
  } else if (does === "grant" && story.phase === "open" && isUndecided) {
    const taken = Math.min(bytes, story.sum("they", "data") - story.sum("we", "credit"));
    state.consumed(taken);
    assert.equal(state.grant(), taken);
    say("credit", taken);
  } else if (does === "will end" && story.phase === "open" && isUndecided) {
    state.decideEnd();
    say("will end");
  } else if (does === "will reset" && story.phase !== "free" && !story.has("we", "will reset")) {
    state.decideReset();
    say("will reset");
  } else if (does === "emit" && !story.has("we", "reset")) {
    if (story.has("we", "will reset")) {
      state.sentReset();
      say("reset");
    } else if (story.has("we", "will end") && !story.has("we", "end")) {
      state.sentEnd();
      say("end");
    }
    story.settle();
  }
}

function receiveOn(state: FlowState, what: Said["what"], bytes: number, isAfterEnd: boolean): Verdict {
  try {
    if (what === "open") {
      state.receivedOpen(bytes);
      return "counts";
    }
    const counts = what === "opened"
      ? state.receivedOpened(bytes)
      : what === "data"
      ? state.receivedData(bytes)
      : what === "credit"
      ? state.receivedCredit(bytes)
      : what === "end"
      ? state.receivedEnd()
      : state.receivedReset(isAfterEnd);
    return counts ? "counts" : "dropped";
  } catch (error) {
    assert(error instanceof LinkError, String(error));
    return "broken";
  }
}

const amount = fc.oneof({ weight: 8, arbitrary: fc.nat(20) }, {
  weight: 1,
  arbitrary: fc.integer({ min: MAX_CREDIT_BYTES - 20, max: MAX_CREDIT_BYTES }),
});
const HEARD = ["open", "opened", "data", "credit", "end", "reset"] as const;
const steps = fc.array(
  fc.record({
    does: fc.constantFrom(
      "open",
      "accept",
      "send",
      "grant",
      "will end",
      "will reset",
      "emit",
      "emit",
      ...HEARD.map(
        (what) => `hear ${what}`,
      ),
    ),
    bytes: amount,
    isAfterEnd: fc.boolean(),
  }),
  { maxLength: 60, size: "max" },
);

Deno.test("FlowState follows the rules as they are told, whatever both sides do", () => {
  const seen = new Map<string, number>();
  holds(
    fc.property(fc.boolean(), steps, (isOurs, steps) => {
      const state = new FlowState(7, isOurs), story = new Story(isOurs);
      for (const step of steps) {
        const heard = HEARD.find((what) => step.does === `hear ${what}`);
        if (heard === undefined) actOn(state, story, step);
        else {
          const expected = verdictOn(story, heard, step.bytes, step.isAfterEnd);
          // A side that broke the rules is gone; here the frame is left out, so that the run goes on.
          if (expected === "broken") {
            const copy = replayable(state);
            assert.equal(receiveOn(state, heard, step.bytes, step.isAfterEnd), "broken", heard);
            assert.deepEqual(replayable(state), copy, "a frame that breaks the rules changes nothing");
          } else {
            assert.equal(receiveOn(state, heard, step.bytes, step.isAfterEnd), expected, heard);
            hear(story, heard, step.bytes, step.isAfterEnd, expected);
          }
          seen.set(`${heard} ${expected}`, (seen.get(`${heard} ${expected}`) ?? 0) + 1);
        }
        assert.equal(state.phase, story.phase);
        assert.equal(state.closing, story.closing);
        if (story.phase !== "open") continue;
        assert.equal(state.creditBytes, story.credit);
        assert.equal(state.allowedBytes, story.allowed);
      }
    }),
    { numRuns: 3000 },
  );
  for (const what of HEARD) {
    for (const verdict of what === "open" ? ["counts", "broken"] : ["counts", "dropped", "broken"]) {
      assert((seen.get(`${what} ${verdict}`) ?? 0) > 0, `no run had: ${what} ${verdict}`);
    }
  }
});

function replayable(state: FlowState): unknown {
  const { phase, closing, sent, received, creditBytes, allowedBytes } = state;
  return { phase, closing, sent, received, creditBytes, allowedBytes };
}
