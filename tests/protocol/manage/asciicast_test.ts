import assert from "node:assert/strict";
import fc from "fast-check";
import { holds } from "../../property.ts";
import {
  AsciicastEncoder,
  parseAsciicastEvent,
  parseAsciicastHeader,
} from "../../../src/protocol/manage/asciicast.ts";

const encoder = new TextEncoder();
const PLAIN = { width: 80, height: 24, timestamp: null, title: null, term: null };

Deno.test("AsciicastEncoder writes the lines of the specification", () => {
  const cast = new AsciicastEncoder();
  const lines = [
    cast.header({ width: 80, height: 24, timestamp: 1763712600.7, title: "web1", term: "xterm-256color" }),
    cast.output(encoder.encode('\x1b[1m"ü"\r\n'), 12.3456789),
    cast.resize(40, 132, 4500),
    cast.end(5000),
  ];
  assert.deepEqual(lines, [
    '{"version":2,"width":80,"height":24,"timestamp":1763712600,"title":"web1","env":{"TERM":"xterm-256color"}}\n',
    '[0.012346,"o","\\u001b[1m\\"ü\\"\\r\\n"]\n',
    '[4.5,"r","132x40"]\n',
    "",
  ]);
});

Deno.test("AsciicastEncoder leaves out of the header what is not known", () => {
  assert.equal(new AsciicastEncoder().header(PLAIN), '{"version":2,"width":80,"height":24}\n');
});

Deno.test("AsciicastEncoder.output() waits for the rest of a character that was cut", () => {
  const cast = new AsciicastEncoder();
  const [first, second, third] = encoder.encode("€");
  assert.equal(cast.output(Uint8Array.of(first ?? 0), 0), "");
  assert.equal(cast.output(Uint8Array.of(second ?? 0), 1), "");
  assert.equal(cast.output(Uint8Array.of(third ?? 0, 0x61), 2), '[0.002,"o","€a"]\n');
});

Deno.test("AsciicastEncoder.end() tells what never became a character", () => {
  const cast = new AsciicastEncoder();
  assert.equal(cast.output(Uint8Array.of(0xe2), 0), "");
  assert.equal(cast.end(1000), '[1,"o","\ufffd"]\n');
});

Deno.test("AsciicastEncoder.output() gives the text that was cut anywhere back through parseAsciicastEvent()", () => {
  holds(fc.property(
    fc.string({ unit: "binary" }),
    fc.array(fc.nat({ max: 8 })),
    (text, steps) => {
      const bytes = encoder.encode(text), cast = new AsciicastEncoder();
      let lines = "", at = 0;
      for (const step of [...steps, bytes.length]) {
        lines += cast.output(bytes.subarray(at, at + step), at);
        at += step;
      }
      lines += cast.end(at);
      const events = lines.split("\n").slice(0, -1).map(parseAsciicastEvent);
      const shown = events.map((event) => event.kind === "output" ? event.text : "?").join("");
      assert.equal(shown, new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
    },
  ));
});

Deno.test("parseAsciicastHeader() reads what other programs write", () => {
  const line = '{"version": 2, "width": 100, "height": 50, "timestamp": 1509091818, "duration": 23.8, ' +
    '"idle_time_limit": 1.75, "title": "Demo", "env": {"TERM": "xterm-256color", "SHELL": "/bin/zsh"}}';
  assert.deepEqual(parseAsciicastHeader(line), {
    width: 100,
    height: 50,
    timestamp: 1509091818,
    title: "Demo",
    term: "xterm-256color",
  });
  assert.deepEqual(parseAsciicastHeader('{"version":2,"width":80,"height":24,"env":null,"title":7}'), PLAIN);
});

Deno.test("parseAsciicastHeader() refuses what is no header", () => {
  const size = "its header has no width and height of 1 to 65535";
  const refusals: readonly (readonly [string, string])[] = [
    ["", "it has a line that is no JSON"],
    ["[1]", "its first line is no header of asciicast"],
    ["null", "its first line is no header of asciicast"],
    ['{"version":3,"term":{"cols":80,"rows":24}}', "its first line is no header of asciicast version 2"],
    ['{"version":2,"width":0,"height":24}', size],
    ['{"version":2,"width":80,"height":65536}', size],
    ['{"version":2,"width":80.5,"height":24}', size],
    ['{"version":2,"width":"80","height":24}', size],
  ];
  for (const [line, message] of refusals) {
    assert.throws(() => parseAsciicastHeader(line), new TypeError(message), line);
  }
});

Deno.test("parseAsciicastEvent() reads output, sizes and what is not shown", () => {
  assert.deepEqual(parseAsciicastEvent('[1.5, "o", "a\\u001b[0m"]'), {
    kind: "output",
    atMs: 1500,
    text: "a\x1b[0m",
  });
  assert.deepEqual(parseAsciicastEvent('[2,"r","132x40"]'), {
    kind: "resize",
    atMs: 2000,
    rows: 40,
    columns: 132,
  });
  assert.deepEqual(parseAsciicastEvent('[0,"i","secret"]'), { kind: "other", atMs: 0 });
  assert.deepEqual(parseAsciicastEvent('[0,"m",""]'), { kind: "other", atMs: 0 });
});

Deno.test("parseAsciicastEvent() refuses what is no event", () => {
  const event = "it has a line that is no event: accepted is [seconds, code, text]";
  const size = "it has a line that is no change of size: accepted is COLUMNSxROWS";
  const refusals: readonly (readonly [string, string])[] = [
    ['[1,"o","a', "it has a line that is no JSON"],
    ["{}", event],
    ["null", event],
    ['["1","o","a"]', event],
    ['[-1,"o","a"]', event],
    ['[1e999,"o","a"]', event],
    ['[1,"o"]', event],
    ['[1,"o",7]', event],
    ['[1,"o","a","b"]', event],
    ['[1,"r","80"]', size],
    ['[1,"r","0x24"]', size],
    ['[1,"r","80x99999"]', size],
    ['[1,"r","80x24 "]', size],
  ];
  for (const [line, message] of refusals) {
    assert.throws(() => parseAsciicastEvent(line), new TypeError(message), line);
  }
});
