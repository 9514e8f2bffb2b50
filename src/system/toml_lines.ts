/** Path of a key from the top of the document, one element per dot. */
type KeyPath = readonly string[];

const BARE_KEY = /[A-Za-z0-9_-]+/y;
const BLANK = /[ \t]*/y;
const BLANK_LINES_AND_COMMENTS = /(?:[ \t\r\n]|#[^\n]*)*/y;
const REST_OF_BARE_VALUE = /[^,\]}#\n]*/y;

/**
 * Finds the line (from 1) on which each key and table of a TOML document stands, for error messages. The document
 * must already have been accepted by a real parser: this scan stops at the first thing it does not understand, and
 * keys after that have no line.
 *
 * @returns lines by `JSON.stringify(keyPath)`; the first occurrence of a path counts
 */
export function scanKeyLines(text: string): Map<string, number> {
  const scanner = new LineScanner(text);
  try {
    scanner.scanDocument();
  } catch (error) {
    if (!(error instanceof ScanStopped)) throw error;
  }
  return scanner.lines;
}

class ScanStopped extends Error {}

class LineScanner {
  readonly lines = new Map<string, number>();
  readonly #text: string;
  #position = 0;
  #line = 1;
  #countedTo = 0;

  constructor(text: string) {
    this.#text = text;
  }

  scanDocument(): void {
    let table: KeyPath = [];
    for (;;) {
      this.#skip(BLANK_LINES_AND_COMMENTS);
      if (this.#position >= this.#text.length) return;
      if (this.#at("[")) table = this.#scanHeader();
      else this.#scanKeyValue(table);
    }
  }

  #scanHeader(): KeyPath {
    const close = this.#at("[[") ? "]]" : "]";
    this.#position += close.length;
    const path = this.#scanKey([]);
    this.#expect(close);
    return path;
  }

  #scanKeyValue(table: KeyPath): void {
    const path = this.#scanKey(table);
    this.#expect("=");
    this.#skip(BLANK);
    this.#scanValue(path);
  }

  /** Scans a dotted key, notes the line of each of its parts, and returns the whole path. */
  #scanKey(table: KeyPath): KeyPath {
    let path = table;
    do {
      this.#skip(BLANK);
      path = [...path, this.#scanKeyPart()];
      this.#note(path);
      this.#skip(BLANK);
    } while (this.#take("."));
    return path;
  }

  #scanKeyPart(): string {
    if (this.#at('"')) return unescapeKey(this.#scanString());
    if (this.#at("'")) return this.#scanString().slice(1, -1);
    const part = this.#skip(BARE_KEY);
    if (part === "") throw new ScanStopped();
    return part;
  }

  #scanValue(path: KeyPath): void {
    if (this.#at('"') || this.#at("'")) this.#scanString();
    else if (this.#take("[")) this.#scanList("]", () => this.#scanValue([...path, ""]));
    else if (this.#take("{")) this.#scanList("}", () => this.#scanKeyValue(path));
    else if (this.#skip(REST_OF_BARE_VALUE) === "") throw new ScanStopped();
  }

  #scanList(close: string, scanElement: () => void): void {
    for (;;) {
      this.#skip(BLANK_LINES_AND_COMMENTS);
      if (this.#take(close)) return;
      scanElement();
      this.#skip(BLANK_LINES_AND_COMMENTS);
      if (!this.#take(",") && !this.#at(close)) throw new ScanStopped();
    }
  }

  /** Scans a string of any of the four kinds and returns it with its quotes. */
  #scanString(): string {
    const start = this.#position;
    const quote = this.#text.charAt(start);
    const long = this.#at(quote.repeat(3));
    const close = long ? quote.repeat(3) : quote;
    this.#position += close.length;
    while (!this.#at(close)) {
      if (this.#position >= this.#text.length) throw new ScanStopped();
      this.#position += quote === '"' && this.#at("\\") ? 2 : 1;
    }
    this.#position += close.length;
    // A long string may end in up to two quotes of its own before the closing three.
    if (long) { while (this.#at(quote)) this.#position++; }
    return this.#text.slice(start, this.#position);
  }

  #note(path: KeyPath): void {
    for (; this.#countedTo < this.#position; this.#countedTo++) {
      if (this.#text[this.#countedTo] === "\n") this.#line++;
    }
    const key = JSON.stringify(path);
    if (!this.lines.has(key)) this.lines.set(key, this.#line);
  }

  #at(token: string): boolean {
    return this.#text.startsWith(token, this.#position);
  }

  #take(token: string): boolean {
    if (!this.#at(token)) return false;
    this.#position += token.length;
    return true;
  }

  #expect(token: string): void {
    if (!this.#take(token)) throw new ScanStopped();
  }

  #skip(pattern: RegExp): string {
    pattern.lastIndex = this.#position;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#position += found.length;
    return found;
  }
}

/** A basic-string key without its quotes; its escapes are JSON's but for the rare ones, which stay as written. */
function unescapeKey(quoted: string): string {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return quoted.slice(1, -1);
  }
}
