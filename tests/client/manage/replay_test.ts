import assert from "node:assert/strict";
import {
  MAX_LINE_BYTES,
  replay,
  type ReplayOptions,
  TERMINAL_RESET,
} from "../../../src/client/manage/replay.ts";
import { AsciicastEncoder } from "../../../src/protocol/manage/asciicast.ts";
import { systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { Failure } from "../../../src/system/failure.ts";
import { FakeTimers, settled } from "../../protocol/rpc/fake_timers.ts";

const HEADER = '{"version":2,"width":80,"height":24}\n';

/** What is shown, and when, in milliseconds. */
class Shown {
  text = "";
  readonly times: (readonly [number, string])[] = [];
  readonly notices: string[] = [];
  readonly timers: FakeTimers = new FakeTimers();
  reset = "";

  readonly output = {
    write: (bytes: Uint8Array): Promise<number> => {
      // Never all at once.
      const some = bytes.subarray(0, Math.max(1, bytes.length >> 1));
      const text = new TextDecoder().decode(some);
      this.text += text;
      this.times.push([this.timers.monotonicMs(), text]);
      return Promise.resolve(some.length);
    },
  };
}

async function* inPieces(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  // One memory for all, as some readers have it.
  const piece = new Uint8Array(size);
  for (let at = 0; at < bytes.length; at += size) {
    const part = bytes.subarray(at, at + size);
    piece.set(part);
    yield piece.subarray(0, part.length);
  }
}

function play(shown: Shown, recording: string, more: Partial<ReplayOptions> = {}, size = 7): Promise<void> {
  return replay({
    name: "shell.cast",
    input: inPieces(recording, size),
    output: shown.output,
    speed: 1,
    idleLimitMs: 2_000,
    timers: shown.timers,
    signal: new AbortController().signal,
    window: null,
    onNotice: (line) => shown.notices.push(line),
    ...more,
  }, ({ reset }) => shown.reset = reset);
}

Deno.test("replay() shows what was recorded, when it was, and no pause longer than the limit", async () => {
  const shown = new Shown();
  const playing = play(
    shown,
    `${HEADER}[0.5,"o","a"]\n[1,"i","typed"]\n[1.5,"o","b"]\n[1.5,"r","90x30"]\n\n[1000,"o","c"]\n[1000.25,"m",""]\n[1000.25,"o","d"]\n`,
  );
  await shown.timers.pass(100_000);
  await playing;
  assert.deepEqual(shown.times, [[500, "a"], [1_500, "b"], [3_500, "c"], [3_750, "d"]]);
  assert.deepEqual(shown.notices, []);
});

Deno.test("replay() plays faster and slower, the limit included", async () => {
  for (const [speed, at] of [[2, [250, 1_250]], [0.5, [1_000, 5_000]]] as const) {
    const shown = new Shown();
    const playing = play(shown, `${HEADER}[0.5,"o","a"]\n[99,"o","b"]\n`, { speed });
    await shown.timers.pass(100_000);
    await playing;
    assert.deepEqual(shown.times.map(([ms]) => ms), at);
  }
});

Deno.test("replay() waits for nothing at infinite speed, and never where times go back", async () => {
  const shown = new Shown();
  await play(shown, `${HEADER}[1e300,"o","a"]\n[0,"o","b"]\n[5,"o","c"]\n`, { speed: Infinity });
  assert.equal(shown.text, "abc");
  const back = new Shown();
  const playing = play(back, `${HEADER}[1,"o","a"]\n[0,"o","b"]\n[1,"o","c"]\n`);
  await back.timers.pass(10_000);
  await playing;
  assert.deepEqual(back.times.map(([ms]) => ms), [1_000, 1_000, 1_000]);
});

Deno.test("replay() plays what our own encoder writes byte for byte, in pieces of any size", async () => {
  const encoder = new AsciicastEncoder();
  const text = "\x1b[1mé\u{1f600}\x1b[0m\r\n\x00\x07\x1b]0;title\x07\u2028";
  const recording = encoder.header({ width: 80, height: 24, timestamp: 0, title: "é", term: "xterm" }) +
    encoder.output(new TextEncoder().encode(text), 0) + encoder.end(1);
  for (const size of [1, 3, 64, 100_000]) {
    const shown = new Shown();
    const output = {
      write: (bytes: Uint8Array): Promise<number> => {
        shown.text += new TextDecoder().decode(bytes);
        return Promise.resolve(bytes.length);
      },
    };
    await play(shown, recording, { output }, size);
    assert.equal(shown.text, text);
  }
});

Deno.test("replay() ends by its signal in the middle of a pause, and tells what sets the terminal back", async () => {
  const shown = new Shown(), ending = new AbortController();
  const playing = play(shown, `${HEADER}[0,"o","\\u001b[?1049h"]\n[1,"o","x"]\n[2,"o","y"]\n`, {
    signal: ending.signal,
  });
  playing.catch(() => {});
  await shown.timers.pass(1_500);
  ending.abort(new Error("ended by SIGINT"));
  await assert.rejects(playing, /ended by SIGINT/);
  assert.equal(shown.timers.pending, 0);
  assert.equal(shown.text, "\x1b[?1049hx");
  assert.equal(shown.reset, "\x1b[?1049l" + TERMINAL_RESET);
});

Deno.test("replay() leaves no other screen that the recording has left itself, or never was on", async () => {
  for (const text of ["plain", "\\u001b[?1049hx\\u001b[?1049l"]) {
    const shown = new Shown();
    await play(shown, `${HEADER}[0,"o","${text}"]\n`);
    assert.equal(shown.reset, TERMINAL_RESET);
  }
});

Deno.test("replay() says that the window is too small, and only then", async () => {
  const small = { rows: 24, columns: 79 }, large = { rows: 24, columns: 80 };
  for (const [window, notices] of [[small, 1], [large, 0], [null, 0]] as const) {
    const shown = new Shown();
    await play(shown, HEADER, { window });
    assert.equal(shown.notices.length, notices);
  }
});

Deno.test("replay() plays a recording that ends in the middle of a line, and says so", async () => {
  const shown = new Shown();
  await play(shown, `${HEADER}[0,"o","a"]\n[0.5,"o","b`);
  assert.equal(shown.text, "a");
  assert.deepEqual(shown.notices, ["warning: the recording ends in the middle of a line"]);
  // A last line that only lacks its newline is whole.
  const whole = new Shown();
  await play(whole, `${HEADER}[0,"o","a"]`);
  assert.equal(whole.text, "a");
  assert.deepEqual(whole.notices, []);
});

const BAD: readonly (readonly [string, string, RegExp])[] = [
  ["is empty", "", /it is empty, accepted is asciicast v2/],
  ["is no JSON", "hello\n", /no JSON \(line 1\)/],
  ["is binary", "\x00\x01\x02\xff\n", /no JSON \(line 1\)/],
  [
    "has another version",
    '{"version":1,"width":80,"height":24}\n',
    /no header of asciicast version 2 \(line 1\)/,
  ],
  ["has no size", '{"version":2}\n', /no width and height/],
  ["has a line that is no event", `${HEADER}[0,"o","a"]\n{"x":1}\n[0,"o","b"]\n`, /no event.* \(line 3\)/],
  ["has a time that is none", `${HEADER}[1e999,"o","a"]\n`, /no event/],
  ["goes back before its beginning", `${HEADER}[-1,"o","a"]\n`, /no event/],
  ["is nested deeply", `${HEADER}${"[".repeat(500_000)}\n`, /no JSON/],
];

for (const [what, recording, message] of BAD) {
  Deno.test(`replay() refuses a file that ${what}`, async () => {
    await assert.rejects(play(new Shown(), recording, {}, 4096), (error: unknown) => {
      assert(error instanceof Failure);
      assert.match(error.message, message);
      assert.match(error.message, /^cannot play shell\.cast: /);
      return true;
    });
  });
}

Deno.test("replay() refuses a line that does not end, without reading all of it", async () => {
  let read = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    yield new TextEncoder().encode(HEADER);
    const chunk = new Uint8Array(64 * 1024).fill(0x20);
    for (;;) {
      read += chunk.length;
      yield chunk;
    }
  }
  await assert.rejects(play(new Shown(), "", { input: endless() }), /a line of more than 1048576 bytes/);
  assert(read <= MAX_LINE_BYTES + 128 * 1024, `${read} bytes were read`);
});

Deno.test("replay() has passed a failed write on, and the end of its input waits for nothing", async () => {
  const output = { write: (): Promise<number> => Promise.reject(new Deno.errors.BrokenPipe("gone")) };
  await assert.rejects(play(new Shown(), `${HEADER}[0,"o","a"]\n`, { output }), Deno.errors.BrokenPipe);
  const shown = new Shown();
  const playing = play(shown, `${HEADER}[0,"o","a"]\n[5,"i","typed long after"]\n`, { timers: systemTimers });
  await playing;
  await settled();
  assert.equal(shown.text, "a");
});
