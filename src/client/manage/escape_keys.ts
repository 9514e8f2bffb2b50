/**
 * Keys that mean something to this program instead of the shell: a `~` at a line's beginning and the key after it, as
 * in ssh.
 *
 *   ~.   leave          ~d   leave the session running          ~?   say which there are          ~~   send one ~
 *
 * The `~` is held back until the next key tells what it means; anything else behind it is sent after it.
 */

/** What is wanted of this program. */
export type EscapeCommand = "leave" | "detach" | "help";

/** What was typed: bytes for the shell, or a command. */
export type Typed = Uint8Array<ArrayBuffer> | EscapeCommand;

const TILDE = 0x7e;
const LINE_ENDS: ReadonlySet<number> = new Set([0x0a, 0x0d]);

const COMMANDS: ReadonlyMap<number, EscapeCommand> = new Map([
  [0x2e, "leave"],
  [0x64, "detach"],
  [0x3f, "help"],
]);

/** What `~?` shows. */
export const ESCAPE_HELP: readonly string[] = [
  "keys at the beginning of a line:",
  "  ~.  leave (a session of --detach goes on)",
  "  ~d  leave the session running, if it was begun with --detach",
  "  ~?  this list",
  "  ~~  send one ~",
];

/** Takes what is typed apart, however it is split into pieces. */
export class EscapeKeys {
  #atLineStart = true;
  #held = false;

  /** What these bytes mean, in order; neighbouring bytes for the shell are one piece. The input is not kept. */
  take(typed: Uint8Array): Typed[] {
    const result: Typed[] = [];
    // At most one byte more than came: the `~` that was held back.
    let piece = new Uint8Array(typed.length + 1), length = 0;
    for (const byte of typed) {
      if (this.#held) {
        this.#held = false;
        const command = COMMANDS.get(byte);
        if (command !== undefined) {
          // Still at the beginning of a line, as ssh has it: nothing was sent.
          if (length > 0) result.push(piece.subarray(0, length));
          result.push(command);
          piece = piece.subarray(length);
          length = 0;
          continue;
        }
        if (byte !== TILDE) piece[length++] = TILDE;
      } else if (this.#atLineStart && byte === TILDE) {
        this.#held = true;
        continue;
      }
      this.#atLineStart = LINE_ENDS.has(byte);
      piece[length++] = byte;
    }
    if (length > 0) result.push(piece.subarray(0, length));
    return result;
  }
}
