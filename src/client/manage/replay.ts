/**
 * Plays a recording of a terminal in the time that it took. What is in it drives the terminal: that is what it is for,
 * so whoever plays one must trust who made it. Its size and its times are bounded all the same.
 */
import {
  type AsciicastEvent,
  parseAsciicastEvent,
  parseAsciicastHeader,
} from "../../protocol/manage/asciicast.ts";
import type { WindowSize } from "../../protocol/manage/session_contract.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import { Failure } from "../../system/failure.ts";
import { pause } from "./reattach.ts";

/** What is played, and how. */
export interface ReplayOptions {
  /** For messages. */
  readonly name: string;
  readonly input: AsyncIterable<Uint8Array>;
  readonly output: { write(bytes: Uint8Array): Promise<number> };
  /** How many times as fast; Infinity: without waiting. */
  readonly speed: number;
  /** Longest pause, in the time of the recording. */
  readonly idleLimitMs: number;
  readonly timers: Timers;
  /** Ends it; its reason is thrown. */
  readonly signal: AbortSignal;
  /** Where it is shown; null: on no terminal. */
  readonly window: WindowSize | null;
  /** Takes lines for people. */
  readonly onNotice: (line: string) => void;
}

/** Longest line: an item of output is 64 KiB, and each of its bytes may be written as six characters. */
export const MAX_LINE_BYTES: number = 1024 * 1024;
const LINE_FEED = 0x0a;

/** Sets a terminal back from what a recording may have left on: colours, no cursor, no wrapping, mouse, pasting. */
export const TERMINAL_RESET =
  "\x1b[0m\x1b[?25h\x1b[?7h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>";
/** Leaves the other screen, where full-screen programs are. */
const LEAVE_OTHER_SCREEN = "\x1b[?1049l";

/** What has been played so far. */
export interface Played {
  /** What sets the terminal back. */
  readonly reset: string;
}

/**
 * Plays a recording.
 *
 * @param onPlayed told of every output, so that the terminal can be set back however this ends
 * @throws {Failure} if it is no recording; the signal's reason
 */
export async function replay(
  options: ReplayOptions,
  onPlayed: (played: Played) => void = () => {},
): Promise<void> {
  const { input, output, speed, idleLimitMs, timers, signal, name, window, onNotice } = options;
  const encoder = new TextEncoder();
  let lastMs = 0, number = 0, reset = TERMINAL_RESET;
  for await (const line of linesOf(input, name)) {
    signal.throwIfAborted();
    number++;
    if (number === 1) {
      tellSize(parsedLine(parseAsciicastHeader, line.text, number, name), window, onNotice);
      continue;
    }
    if (line.text.trim() === "") continue;
    const event = lastLineMayBeCut(line, number, name, onNotice);
    if (event === null) break;
    if (event.kind !== "output") continue;
    // Only forwards, whatever the recording says; a pause is its own length or the limit.
    const waitMs = Math.min(Math.max(0, event.atMs - lastMs), idleLimitMs) / speed;
    lastMs = Math.max(lastMs, event.atMs);
    if (waitMs > 0) await pause(waitMs, timers, signal);
    reset = resetAfter(event.text, reset);
    onPlayed({ reset });
    for (let rest = encoder.encode(event.text); rest.length > 0;) {
      rest = rest.subarray(await output.write(rest));
    }
  }
  if (number === 0) throw new Failure(`cannot play ${name}: it is empty, accepted is asciicast v2`);
}

function tellSize(
  { width, height }: { readonly width: number; readonly height: number },
  window: WindowSize | null,
  onNotice: (line: string) => void,
): void {
  if (window === null || (window.columns >= width && window.rows >= height)) return;
  onNotice(`warning: it was recorded in a window of ${width} by ${height}, and this one is smaller`);
}

function resetAfter(text: string, before: string): string {
  const entered = text.lastIndexOf("\x1b[?1049h"), left = text.lastIndexOf(LEAVE_OTHER_SCREEN);
  if (entered === left) return before;
  return entered > left ? LEAVE_OTHER_SCREEN + TERMINAL_RESET : TERMINAL_RESET;
}

interface Line {
  readonly text: string;
  /** Whether it has its newline. */
  readonly isWhole: boolean;
}

/** A recording ends where the program that made it was killed: that may be in the middle of a line. */
function lastLineMayBeCut(
  line: Line,
  number: number,
  name: string,
  onNotice: (line: string) => void,
): AsciicastEvent | null {
  try {
    return parsedLine(parseAsciicastEvent, line.text, number, name);
  } catch (error) {
    if (line.isWhole) throw error;
    onNotice("warning: the recording ends in the middle of a line");
    return null;
  }
}

function parsedLine<T>(parse: (line: string) => T, line: string, number: number, name: string): T {
  try {
    return parse(line);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new Failure(`cannot play ${name}: ${error.message} (line ${number})`);
  }
}

async function* linesOf(input: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Line> {
  const decoder = new TextDecoder();
  let parts: Uint8Array[] = [], length = 0;
  const line = (isWhole: boolean): Line => {
    const text = decoder.decode(joined(parts, length));
    parts = [];
    length = 0;
    return { text, isWhole };
  };
  for await (const chunk of input) {
    let from = 0;
    for (let at = chunk.indexOf(LINE_FEED); at !== -1; at = chunk.indexOf(LINE_FEED, from)) {
      add(chunk.subarray(from, at));
      yield line(true);
      from = at + 1;
    }
    // The chunk's memory may be used again.
    add(chunk.slice(from));
  }
  if (length > 0) yield line(false);

  function add(part: Uint8Array): void {
    length += part.length;
    if (length > MAX_LINE_BYTES) {
      throw new Failure(
        `cannot play ${name}: it has a line of more than ${MAX_LINE_BYTES} bytes, which no recording has`,
      );
    }
    parts.push(part);
  }
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) return first;
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
