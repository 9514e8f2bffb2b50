/**
 * The newest signed head of the server's audit, kept where the server cannot reach it: whoever cuts rows off the end of
 * the audit later is found out by it.
 *
 * A head that comes over a link is never older than what was kept before the link was made. It may well be older than
 * what another command has kept meanwhile, which shows nothing.
 */
import { decodeHead, encodeHead, verifyHead } from "../../protocol/manage/audit_head.ts";
import type { SignedHead } from "../../protocol/manage/control_contract.ts";
import { ResetError } from "../../protocol/manage/reset_code.ts";
import { describeError } from "../../system/failure.ts";
import { type ManageFolder, readText, writeText } from "./manage_folder.ts";

/** The heads of one link. */
export class AuditHeads {
  readonly #folder: ManageFolder;
  readonly #serverKey: Uint8Array<ArrayBuffer>;
  readonly #onNotice: (line: string) => void;
  /** What was kept before the link was made. */
  readonly #before: SignedHead | null;
  /** The newest one that came. */
  #newest: SignedHead | null = null;
  #isKeeping = false;
  #kept: Promise<void> = Promise.resolve();
  #hasWarned = false;

  /** To be made before the link is. */
  constructor(folder: ManageFolder, serverKey: Uint8Array<ArrayBuffer>, onNotice: (line: string) => void) {
    this.#folder = folder;
    this.#serverKey = serverKey;
    this.#onNotice = onNotice;
    this.#before = this.#read();
  }

  /** Settles when what has come so far is stored, or could not be; never rejects. */
  get kept(): Promise<void> {
    return this.#kept;
  }

  /**
   * Checks a head and has it kept. Resolves before it is stored.
   *
   * @throws {ResetError} "malformed" if the server's key has not signed it
   */
  async take(head: SignedHead): Promise<void> {
    if (!await verifyHead(head, this.#serverKey)) {
      throw new ResetError(
        "malformed",
        "here",
        "the server's word on its audit is not signed by the key that it has shown",
      );
    }
    if (isRewound(head, this.#before)) this.#warn(head, this.#before);
    else if (isRewound(head, this.#newest) && head.number === this.#newest?.number) {
      this.#warn(head, this.#newest);
    }
    if (head.number > (this.#newest?.number ?? 0)) this.#newest = head;
    if (this.#isKeeping || this.#hasWarned) return;
    this.#isKeeping = true;
    this.#kept = this.#keep();
  }

  /** One write for all that come meanwhile. What was kept of a longer audit stays: it is the evidence. */
  async #keep(): Promise<void> {
    try {
      await this.#folder.locked(() => {
        this.#isKeeping = false;
        const newest = this.#newest, stored = this.#read();
        if (newest === null) return;
        if (stored !== null && newest.number === stored.number && isRewound(newest, stored)) {
          return this.#warn(newest, stored);
        }
        if (newest.number <= (stored?.number ?? 0)) return;
        writeText(this.#folder.headPath, `${encodeHead(newest).toHex()}\n`);
      });
    } catch (error) {
      this.#isKeeping = false;
      this.#onNotice(`warning: could not keep the head of the server's audit: ${describeError(error)}`);
    }
  }

  /** Null where there is none, or none that can be used. */
  #read(): SignedHead | null {
    const { headPath } = this.#folder;
    const text = readText(headPath);
    if (text === null) return null;
    try {
      return decodeHead(Uint8Array.fromHex(text.trimEnd()));
    } catch {
      this.#onNotice(`warning: ${headPath} holds no head of an audit, and will be written anew`);
      return null;
    }
  }

  #warn(found: SignedHead, kept: SignedHead | null): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    const before = kept?.number ?? 0;
    const what = found.number === before
      ? `its row ${before} is another one than before`
      : `it ends with row ${found.number}, and had row ${before} before`;
    this.#onNotice(
      `warning: the server's audit was changed or rewound: ${what}; give ${this.#folder.headPath} to its operator, for ` +
        "postern server manage audit --verify --head FILE",
    );
  }
}

function isRewound(head: SignedHead, kept: SignedHead | null): boolean {
  if (kept === null || head.number > kept.number) return false;
  return head.number < kept.number || head.hash.toHex() !== kept.hash.toHex();
}
