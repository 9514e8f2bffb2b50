/**
 * Receiving: the library's face of the receiver.
 *
 *   a code -> what is remembered of it (ReceiverMemory) -> by the code, or by the secret of an earlier run with it
 *          -> runReceive into a FileSink
 */
import { parseCode, type TransferCode } from "../../protocol/transfer/code.ts";
import { TransferError } from "../../protocol/transfer/errors.ts";
import { DEFAULT_LIMITS } from "../../protocol/transfer/limits.ts";
import type { Offer } from "../../protocol/transfer/offer.ts";
import type { Rendezvous } from "../../protocol/transfer/pairing.ts";
import { runReceive } from "../../protocol/transfer/receive_run.ts";
import { describeError } from "../../system/failure.ts";
import { absolutePath, joinPath, nameOf } from "../../system/path.ts";
import { ZstdCompression } from "./compression.ts";
import { FileSink } from "./file_sink.ts";
import { type FoundPairing, ReceiverMemory } from "./receiver_memory.ts";
import { REFUSALS } from "./refusals.ts";
import { cannotKeepNotice, makeStateFolder } from "./state_folder.ts";
import {
  stateFolderOf,
  type TransferOptions,
  type TransferParts,
  transferParts,
} from "./transfer_options.ts";
import { prepareTarget } from "./working_folder.ts";

/** Options of {@link receive}. */
export interface ReceiveOptions extends TransferOptions {
  /** Folder that files are put into; made if it is missing. */
  readonly folder: string;
  /** Whether files that are there already are replaced. @default false */
  readonly overwrite?: boolean | undefined;
  /** Whether names that begin with a dot are taken. @default false */
  readonly hidden?: boolean | undefined;
  /** Most files and folders that are taken. @default 100_000 */
  readonly maxEntries?: number | undefined;
  /** Most bytes that are taken. @default 16 TiB */
  readonly maxTotalBytes?: number | undefined;
  /**
   * Asked before anything is written, once the names, the sizes and the room were found to be right; not again where an
   * interrupted transfer goes on. Without it everything is taken.
   */
  readonly confirm?: ((offer: Offer) => Promise<boolean>) | undefined;
}

/** What was received. */
export type ReceiveResult =
  | { readonly kind: "text"; readonly text: string }
  /** Where the files and folders at the top of the offer are now, in its order. */
  | { readonly kind: "files"; readonly paths: readonly string[] };

/**
 * Receives until everything is verified and in its place. A code is good for one try: if that was interrupted, by a lost
 * link or the end of the program, the same call goes on, and what has come is not sent again.
 *
 * Needs what `connect` needs and reading and writing of the folder. It is used, if permitted: the state folder, to go on
 * also where nothing had come yet, and `--allow-sys=statfs`, to see beforehand whether there is room.
 *
 * @param code as a person typed it
 * @throws {TransferError} why it failed; what has come is kept in the folder, in one whose name begins with `.postern-`
 * @throws {Failure} if what is remembered of the code cannot be read
 * @throws the reason of `signal`
 */
export async function receive(code: string, options: ReceiveOptions): Promise<ReceiveResult> {
  const parsed = parseCode(code);
  return await new Receive(parsed, await openedStateFolder(options), options).run();
}

/** Null: nothing outlives this process, and the user is told why. */
async function openedStateFolder(options: ReceiveOptions): Promise<string | null> {
  const folder = stateFolderOf(options);
  if (folder === null) return null;
  try {
    await makeStateFolder(folder);
    return folder;
  } catch (error) {
    options.onNotice?.(cannotKeepNotice(folder, "transfer", error));
    return null;
  }
}

class Receive {
  readonly #code: TransferCode;
  readonly #options: ReceiveOptions;
  readonly #parts: TransferParts;
  /** Absolute path of the folder. */
  readonly #target: string;
  readonly #memory: ReceiverMemory;
  #sink: FileSink | null = null;
  #hasAccepted = false;

  constructor(code: TransferCode, stateFolder: string | null, options: ReceiveOptions) {
    this.#code = code;
    this.#options = options;
    this.#parts = transferParts(options);
    this.#target = absolutePath(options.folder);
    this.#memory = new ReceiverMemory({
      code: code.text,
      target: this.#target,
      stateFolder,
    });
  }

  async run(): Promise<ReceiveResult> {
    const found = await this.#memory.find();
    this.#judge(found);
    try {
      await this.#prepare(found);
      await this.#receive(found);
      // All is in its place, and the sender has heard of it: that stays true, whatever becomes of what is kept of it.
      await this.#tellIfFails(this.#memory.finished());
      return this.#result();
    } catch (error) {
      throw await this.#failure(error, found);
    } finally {
      await this.#tellIfFails(this.#sink?.close());
    }
  }

  /** Before a code is spent on what could not be kept, and before another process that receives this is disturbed. */
  async #prepare(found: FoundPairing): Promise<void> {
    if (found.state === "unknown") await prepareTarget(this.#target);
    if (found.state === "proven") await this.#sinkOf(found.resumeSecret).open();
  }

  async #tellIfFails(work: Promise<void> | undefined): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#options.onNotice?.(describeError(error));
    }
  }

  /** @throws {TransferError} `spent` */
  #judge(found: FoundPairing): void {
    const { onNotice } = this.#options;
    if (found.state === "unknown") {
      if (found.elsewhere === undefined) return;
      const { elsewhere } = found;
      return onNotice?.(
        `this code was used to receive into ${elsewhere} before: this is another receiver; to go on there, name that folder`,
      );
    }
    if (found.state === "finished") throw spent(`it was used to receive into ${found.target}, and is over`);
    if (found.target !== this.#target) {
      onNotice?.(
        `this code was used to receive into ${found.target} before: what has come there is not used here`,
      );
    }
    if (found.state === "spent") {
      const seconds = Math.ceil(this.#waitMs(found) / 1000);
      onNotice?.(`this code was tried before: looking for ${seconds} s whether the other side knows of it`);
    }
  }

  async #receive(found: FoundPairing): Promise<void> {
    const { onEvent } = this.#parts;
    const compression = new ZstdCompression();
    await runReceive({
      ...this.#parts,
      waitMs: this.#waitMs(found),
      rendezvous: this.#rendezvous(found),
      memory: this.#memory,
      compression,
      limits: this.#limits(),
      sinkFor: (secret) => this.#sinkFor(secret, found),
      onEvent: (event): void => {
        if (event.event === "accepted") this.#hasAccepted = true;
        onEvent(event);
      },
    });
  }

  /** Of a code that was tried it is not known whether anybody was there: so nobody is waited for as long. */
  #waitMs(found: FoundPairing): number {
    const { waitMs, graceMs } = this.#parts;
    return found.state === "spent" ? Math.min(waitMs, graceMs) : waitMs;
  }

  #rendezvous(found: FoundPairing): Rendezvous {
    return found.state === "unknown"
      ? { kind: "code", code: this.#code }
      : { kind: "resume", secret: found.resumeSecret };
  }

  #limits(): typeof DEFAULT_LIMITS {
    const { maxEntries, maxTotalBytes } = DEFAULT_LIMITS;
    return {
      ...DEFAULT_LIMITS,
      maxEntries: this.#options.maxEntries ?? maxEntries,
      maxTotalBytes: this.#options.maxTotalBytes ?? maxTotalBytes,
    };
  }

  async #sinkFor(resumeSecret: Uint8Array<ArrayBuffer>, found: FoundPairing): Promise<FileSink> {
    if (found.state === "spent") await this.#memory.proven(resumeSecret);
    return this.#sinkOf(resumeSecret);
  }

  #sinkOf(resumeSecret: Uint8Array<ArrayBuffer>): FileSink {
    const { overwrite, hidden, confirm } = this.#options;
    this.#sink ??= new FileSink({
      folder: this.#target,
      resumeSecret,
      codeTag: this.#memory.codeTag,
      overwrite,
      hidden,
      confirm,
      limits: this.#limits(),
    });
    return this.#sink;
  }

  #result(): ReceiveResult {
    const text = this.#sink?.text ?? null;
    if (text !== null) return { kind: "text", text };
    const { folder } = this.#options;
    const paths = this.#sink?.paths ?? [];
    return { kind: "files", paths: paths.map((path) => joinPath(folder, nameOf(path))) };
  }

  /** What is thrown on, once it is remembered what became of the code. */
  async #failure(error: unknown, found: FoundPairing): Promise<unknown> {
    if (!(error instanceof TransferError)) return error;
    if (REFUSALS.has(error.code) && error.side === "here" && !this.#hasAccepted) {
      // What cannot be kept is no reason to hide why it failed.
      await this.#memory.finished().catch(() => {});
    }
    return error.code === "absent" && found.state === "spent"
      ? spent("it was tried before, and the other side does not know of it")
      : error;
  }
}

function spent(found: string): TransferError {
  return new TransferError("spent", `cannot use the code again: ${found}`);
}
