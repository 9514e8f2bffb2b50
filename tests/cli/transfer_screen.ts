/**
 * A terminal's screen as far as progress bars use one: says what a person would have seen, from what was written. What
 * it does not know it refuses, so that no test looks at something else than the terminal would show.
 */

const ESCAPE = "\x1b";
/** What follows ESC in CSI: parameters, then the letter that says what it does. */
const SEQUENCE = /^\[(\??)([0-9;]*)([A-Za-z])/;

export class TerminalScreen {
  readonly #columns: number;
  #rows: string[][] = [[]];
  #row = 0;
  #column = 0;
  #rest = "";
  /** Everything that stood there at any time, as whole screens; a new one before each time the cursor goes back. */
  readonly frames: string[] = [];
  isCursorShown = true;
  doesWrap = true;
  /** The most columns of a line that was written while lines did not wrap: what is too long then is not shown. */
  widestUnwrapped = 0;

  constructor(columns: number) {
    this.#columns = columns;
  }

  /** What is on the screen now, without blanks at the ends of lines. */
  get lines(): string[] {
    return this.#rows.map((row) => Array.from(row, (each) => each ?? " ").join("").trimEnd());
  }

  /** Writes to it. */
  write(text: string): void {
    let rest = this.#rest + text;
    this.#rest = "";
    while (rest !== "") {
      if (!rest.startsWith(ESCAPE)) {
        const [character = ""] = rest;
        this.#put(character);
        rest = rest.slice(character.length);
        continue;
      }
      const sequence = SEQUENCE.exec(rest.slice(ESCAPE.length));
      if (sequence === null) {
        if (rest.length > 20) {
          throw new Error(`the screen does not know ${JSON.stringify(rest.slice(0, 20))}`);
        }
        this.#rest = rest;
        return;
      }
      const [whole, mark = "", parameters = "", letter = ""] = sequence;
      this.#act(mark, parameters, letter);
      rest = rest.slice(ESCAPE.length + whole.length);
    }
  }

  #put(character: string): void {
    if (character === "\r") this.#goTo(0);
    else if (character === "\n") this.#row++;
    else if (character === "\b") this.#column = Math.max(0, this.#column - 1);
    else if (character !== "\x07") this.#print(character);
    while (this.#rows.length <= this.#row) this.#rows.push([]);
  }

  #print(character: string): void {
    if (this.#column >= this.#columns && this.doesWrap) {
      this.#row++;
      this.#column = 0;
      while (this.#rows.length <= this.#row) this.#rows.push([]);
    }
    const row = this.#rows[this.#row] ?? [];
    row[Math.min(this.#column, this.#columns - 1)] = character;
    this.#column++;
    if (!this.doesWrap) this.widestUnwrapped = Math.max(this.widestUnwrapped, this.#column);
  }

  #act(mark: string, parameters: string, letter: string): void {
    // None and 0 both mean 1.
    const count = Number(parameters) || 1;
    if (mark === "?") {
      if (parameters === "25") this.isCursorShown = letter === "h";
      else if (parameters === "7") this.doesWrap = letter === "h";
      else throw new Error(`the screen does not know mode ${parameters}`);
      return;
    }
    switch (letter) {
      case "A":
        this.frames.push(this.lines.join("\n"));
        this.#row = Math.max(0, this.#row - count);
        return;
      case "B":
        this.#row += count;
        return;
      case "G":
        return this.#goTo(count - 1);
      case "K":
        return this.#clearLine(parameters);
      case "J":
        if (parameters !== "" && parameters !== "0") {
          throw new Error(`the screen does not know J ${parameters}`);
        }
        this.frames.push(this.lines.join("\n"));
        this.#clearLine("0");
        this.#rows.length = this.#row + 1;
        return;
      case "m":
        return;
      default:
        throw new Error(`the screen does not know CSI ${mark}${parameters}${letter}`);
    }
  }

  #goTo(column: number): void {
    if (column === 0 && this.#column !== 0) this.frames.push(this.lines.join("\n"));
    this.#column = column;
  }

  #clearLine(how: string): void {
    const row = this.#rows[this.#row] ?? [];
    if (how === "2") row.length = 0;
    else if (how === "" || how === "0") row.length = Math.min(row.length, this.#column);
    else throw new Error(`the screen does not know K ${how}`);
  }
}
