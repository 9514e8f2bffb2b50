/**
 * How much the server holds of sessions whose other side does not read: up to a window each way. One administrator with
 * many of them could take all the memory there is, and with it the links of everybody else. So whoever has many gets
 * small windows for the later ones, which are slower over long distances and no less reliable.
 */
import { WINDOW_BYTES } from "../../protocol/manage/running_link.ts";
import { ResetError } from "../../protocol/manage/reset_code.ts";

const KIB = 1024;

/** Windows by the number of sessions that an administrator looks at already: 112 MiB each way in all. */
const STEPS: readonly { readonly below: number; readonly windowBytes: number }[] = [
  { below: 32, windowBytes: WINDOW_BYTES.session },
  { below: 128, windowBytes: 256 * KIB },
  { below: 1024, windowBytes: 64 * KIB },
];

/** Counts them. */
export class SessionWindows {
  readonly #counts = new Map<string, number>();

  /**
   * One more session of somebody, until `leave`.
   *
   * @returns its window, in bytes
   * @throws {ResetError} "exhausted"
   */
  enter(who: string): number {
    const count = this.#counts.get(who) ?? 0;
    const step = STEPS.find(({ below }) => count < below);
    if (step === undefined) {
      throw new ResetError("exhausted", "here", `you have ${count} sessions, more are not allowed`);
    }
    this.#counts.set(who, count + 1);
    return step.windowBytes;
  }

  /** It is over. */
  leave(who: string): void {
    const count = (this.#counts.get(who) ?? 0) - 1;
    if (count > 0) this.#counts.set(who, count);
    else this.#counts.delete(who);
  }
}
