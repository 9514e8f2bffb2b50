import assert from "node:assert/strict";
import fc from "fast-check";
import type { Clock } from "../../src/system/clock.ts";
import { Log, type LogFields, type LogFormat } from "../../src/system/log.ts";
import { holds } from "../property.ts";

const fixedClock: Clock = {
  wallMs: () => Date.UTC(2026, 10, 21, 8, 50, 0, 123),
  wallNs: () => 0n,
  monotonicMs: () => 0,
};

function capture(format: LogFormat, message: string, fields: LogFields = {}): string {
  const lines: string[] = [];
  new Log({ role: "server", format, write: (line) => lines.push(line), clock: fixedClock }).warn(
    message,
    fields,
  );
  assert.equal(lines.length, 1);
  return lines[0] ?? "";
}

/** Reads a text line back: the message and the fields, in the simplest way a log reader would. */
function readTextLine(line: string): { message: string; fields: Record<string, string> } {
  const head = "2026-11-21T08:50:00.123Z WARN server: ";
  assert.ok(line.startsWith(head));
  let rest = line.slice(head.length).replace(/\n$/, "");
  const literal = /^"(?:[^"\\]|\\.)*"/;
  const quoted = literal.exec(rest)?.[0];
  const message = quoted ?? /^.*?(?= [a-z_]+=|$)/.exec(rest)?.[0] ?? "";
  rest = rest.slice(message.length);
  const fields: Record<string, string> = {};
  while (rest !== "") {
    const name = /^ ([a-z_]+)=/.exec(rest);
    assert.ok(name?.[1] !== undefined, `field expected at ${rest}`);
    rest = rest.slice(name[0].length);
    const value = literal.exec(rest)?.[0] ?? /^[^ ]*/.exec(rest)?.[0] ?? "";
    rest = rest.slice(value.length);
    fields[name[1]] = value.startsWith('"') ? JSON.parse(value) : value;
  }
  return { message: quoted === undefined ? message : JSON.parse(quoted), fields };
}

const hostileText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme" }),
  fc.constantFrom(
    'x" peer=192.0.2.1',
    "x peer=192.0.2.1",
    "x\n2026-11-21T08:50:00.123Z WARN server: packet refused peer=192.0.2.1",
    "\u202egpj.exe",
    "\x1b[2J",
    "\\",
    '"',
    "",
    "\ud800",
    "a\u2028b",
  ),
);

Deno.test("Log.warn() writes the documented text line", () => {
  assert.equal(
    capture("text", "packet refused", { reason: "replayed", peer: "192.0.2.7", suppressed: 3 }),
    "2026-11-21T08:50:00.123Z WARN server: packet refused reason=replayed peer=192.0.2.7 suppressed=3\n",
  );
  assert.equal(
    capture("text", "m", { a: "two words", b: null, c: true, d: 12n, e: "", f: "[::1]:80" }),
    '2026-11-21T08:50:00.123Z WARN server: m a="two words" b=null c=true d=12 e="" f=[::1]:80\n',
  );
});

Deno.test("Log.warn() writes JSON with the head first and big numbers as digits", () => {
  assert.equal(
    capture("json", "m", { counter: 2n ** 127n, level: "forged", n: 1.5, ok: false, none: null }),
    '{"time":"2026-11-21T08:50:00.123Z","level":"warn","role":"server","message":"m",' +
      '"counter":"170141183460469231731687303715884105728","n":1.5,"ok":false,"none":null}\n',
  );
});

Deno.test("Log.warn() lets no message or value forge a field or a line (text)", () => {
  holds(
    fc.property(hostileText, hostileText, hostileText, (message, first, second) => {
      const line = capture("text", message, { first, peer: second });
      assert.equal(
        line.search(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u),
        line.length - 1,
        "only the final newline",
      );
      assert.deepEqual(readTextLine(line), { message, fields: { first, peer: second } });
    }),
    { numRuns: 2000 },
  );
});

Deno.test("Log.warn() lets no message or value forge a field or a line (json)", () => {
  holds(
    fc.property(hostileText, hostileText, (message, value) => {
      const line = capture("json", message, { value });
      assert.equal(
        line.search(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u),
        line.length - 1,
        "only the final newline",
      );
      const read = JSON.parse(line);
      assert.equal(read.message, message);
      assert.equal(read.value, value);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("Log drops lines below its level", () => {
  const lines: string[] = [];
  const log = new Log({ role: "r", format: "text", write: (line) => lines.push(line), clock: fixedClock });
  log.debug("unseen");
  log.info("seen");
  log.error("seen too");
  assert.deepEqual(lines.map((line) => line.split(" ")[1]), ["INFO", "ERROR"]);
});

Deno.test("Log shows nothing that looks like a key, wherever it stands", () => {
  holds(
    fc.property(
      fc.uint8Array({ minLength: 40, maxLength: 40 }),
      hostileText,
      fc.constantFrom<LogFormat>("text", "json"),
      (bytes, around, format) => {
        const key = bytes.toBase64();
        const line = capture(format, `could not use ${key}.key`, {
          [key]: 1,
          path: `/etc/${key}`,
          around: `${around} ${key}`,
        });
        assert(!line.includes(key.slice(0, 54)), line);
        assert.equal(line.split("<key>").length, 5);
      },
    ),
  );
});
