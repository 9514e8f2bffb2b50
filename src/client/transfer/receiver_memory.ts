/**
 * What a receiver remembers of a code, so that it never guesses with the same one twice: in the state folder, a file
 * for each code, `received-<tag>.json` (received_pairing.ts), and `received-<tag>-<target>.json` for each further target
 * folder.
 *
 *   spend:    before our confirmation is sent: from here on this code is never used for a guess again
 *   proven:   the other side knows the code; from here on the resume secret will do
 *   finished: all has come
 *
 * A code that was proven for one target folder may be used for another one, where it is another of several receivers. What
 * was spent and not proven is an open guess, and stops it anywhere.
 *
 * Without a state folder the pairing is kept in the working folder once it is proven; what was only spent is then
 * known to this process alone.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { TransferError } from "../../protocol/transfer/errors.ts";
import type { PairingMemory } from "../../protocol/transfer/memory.ts";
import { type Clock, systemClock } from "../../system/clock.ts";
import { writeFileDurably } from "../../system/durable_file.ts";
import { describeError, Failure } from "../../system/failure.ts";
import { joinPath } from "../../system/path.ts";
import { hasPermission } from "../../system/permissions.ts";
import { storageError } from "./file_sink_errors.ts";
import {
  codeTagOf,
  decodePairing,
  encodePairing,
  isTooOld,
  MAX_PAIRING_BYTES,
  type PairingState,
  type ReceivedPairing,
} from "./received_pairing.ts";
import { keepPairing, keptPairings } from "./working_folder.ts";

const PRIVATE_FOLDER_MODE = 0o700;
const FILE_NAME = /^received-[0-9a-f]{64}(?:-[0-9a-f]{16})?\.json$/;
const TARGET_TAG_CHARS = 16;

/** What is remembered of a code. */
export type FoundPairing =
  | {
    readonly state: "unknown";
    /** Absolute path of another folder, into which it was received by this code. */
    readonly elsewhere?: string;
  }
  | {
    readonly state: PairingState;
    readonly resumeSecret: Uint8Array<ArrayBuffer>;
    /** Absolute path of the folder that was received into. */
    readonly target: string;
  };

/** Which code, and where it is remembered. */
export interface ReceiverMemoryOptions {
  /** The code in its one spelling, the `text` of a `TransferCode`. */
  readonly code: string;
  /** Absolute path of the target folder. */
  readonly target: string;
  /** Made (0700) if it is missing; null: there is none, or it may not be used. */
  readonly stateFolder: string | null;
  /** @default systemClock */
  readonly clock?: Clock | undefined;
}

/** One file of the state folder. */
interface KeptPairing {
  readonly name: string;
  readonly pairing: ReceivedPairing;
}

/** The memory of one code. */
export class ReceiverMemory implements PairingMemory {
  /** By which the code is known again. */
  readonly codeTag: string;
  readonly #target: string;
  readonly #stateFolder: string | null;
  readonly #clock: Clock;
  #pairing: ReceivedPairing | null = null;
  /** In the state folder. */
  #name: string;

  /** Touches nothing yet. */
  constructor(options: ReceiverMemoryOptions) {
    this.codeTag = codeTagOf(options.code);
    this.#name = `received-${this.codeTag}.json`;
    this.#target = options.target;
    this.#stateFolder = options.stateFolder;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * What is remembered of the code for this target, in the state folder, else in the working folders there; else of a
   * guess that was made for another target, and was not proven. What is older than a week is dropped.
   *
   * @throws {Failure} if there is something and it cannot be read: the code is then taken for spent
   * @throws {TransferError} `storage` if a folder cannot be read
   */
  async find(): Promise<FoundPairing> {
    await this.#dropOld();
    const kept = this.#pairing === null ? await this.#findKept() : [];
    this.#pairing ??= await this.#findPairing(kept);
    if (this.#pairing === null) {
      const [elsewhere] = kept;
      return {
        state: "unknown",
        ...(elsewhere === undefined ? {} : { elsewhere: elsewhere.pairing.target }),
      };
    }
    const { state, resumeSecret, target } = this.#pairing;
    return { state, resumeSecret, target };
  }

  /**
   * See `PairingMemory`.
   *
   * @throws {TransferError} `storage`, `space`
   */
  async spend(resumeSecret: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#keep(resumeSecret, "spent");
  }

  /**
   * See `PairingMemory`.
   *
   * @throws {TransferError} `storage`, `space`
   */
  async proven(resumeSecret: Uint8Array<ArrayBuffer>): Promise<void> {
    const pairing = await this.#keep(resumeSecret, "proven");
    const path = this.#target;
    if (this.#stateFolder !== null) return;
    if (!hasPermission({ name: "read", path }) || !hasPermission({ name: "write", path })) return;
    await keepPairing(path, resumeSecret, encodePairing(pairing));
  }

  /**
   * Everything has come: the code, typed again, has nothing more to bring. Does nothing if there is no state folder, as
   * the working folder goes then.
   *
   * @throws {TransferError} `storage`, `space`
   */
  async finished(): Promise<void> {
    if (this.#pairing !== null) await this.#keep(this.#pairing.resumeSecret, "finished");
  }

  async #keep(resumeSecret: Uint8Array<ArrayBuffer>, state: PairingState): Promise<ReceivedPairing> {
    const timeMs = this.#pairing?.timeMs ?? this.#clock.wallMs();
    // A copy: whoever gave it may clear it.
    const kept = {
      codeTag: this.codeTag,
      resumeSecret: resumeSecret.slice(),
      target: this.#target,
      timeMs,
      state,
    };
    this.#pairing = kept;
    const path = this.#path();
    if (path === null || this.#stateFolder === null) return kept;
    try {
      await Deno.mkdir(this.#stateFolder, { recursive: true, mode: PRIVATE_FOLDER_MODE });
      await writeFileDurably(path, encodePairing(kept));
    } catch (error) {
      throw storageError("write", path, error instanceof Failure ? error.cause : error);
    }
    return kept;
  }

  #path(): string | null {
    return this.#stateFolder === null ? null : joinPath(this.#stateFolder, this.#name);
  }

  async #findPairing(kept: readonly KeptPairing[]): Promise<ReceivedPairing | null> {
    const ours = kept.find(({ pairing }) => pairing.target === this.#target);
    const inTarget = ours === undefined ? await this.#findInTarget() : null;
    const found = ours ??
      (inTarget === null ? kept.find(({ pairing }) => pairing.state === "spent") : undefined);
    if (found !== undefined) this.#name = found.name;
    // That of another target is still needed there.
    else if (kept.length > 0) this.#name = `received-${this.codeTag}-${targetTag(this.#target)}.json`;
    return found?.pairing ?? inTarget;
  }

  /** Of every target. */
  async #findKept(): Promise<KeptPairing[]> {
    const folder = this.#stateFolder;
    if (folder === null) return [];
    const start = `received-${this.codeTag}-`;
    const others = (await filesIn(folder)).filter((name) => FILE_NAME.test(name) && name.startsWith(start));
    const found: KeptPairing[] = [];
    for (const name of [this.#name, ...others]) {
      const pairing = await this.#readKept(joinPath(folder, name));
      if (pairing !== null) found.push({ name, pairing });
    }
    return found;
  }

  async #readKept(path: string): Promise<ReceivedPairing | null> {
    const bytes = await readOrNull(path);
    if (bytes === null) return null;
    const pairing = decodePairing(bytes);
    if (pairing?.codeTag === this.codeTag) return pairing;
    throw new Failure(
      `cannot tell what this code was used for: ${path} is damaged, so that the code counts as spent`,
      { hint: "ask the sender for a new code" },
    );
  }

  async #findInTarget(): Promise<ReceivedPairing | null> {
    const path = this.#target;
    if (!hasPermission({ name: "read", path })) return null;
    const pairings = (await keptPairings(path, MAX_PAIRING_BYTES)).map(decodePairing);
    return pairings.find((each) => each?.codeTag === this.codeTag && !isTooOld(each, this.#clock.wallMs())) ??
      null;
  }

  /** A file that cannot be read, or is none of ours, stays. */
  async #dropOld(): Promise<void> {
    const folder = this.#stateFolder;
    if (folder === null) return;
    for (const name of await filesIn(folder)) {
      if (!FILE_NAME.test(name)) continue;
      const path = joinPath(folder, name);
      const pairing = decodePairing(await Deno.readFile(path).catch(() => new Uint8Array(0)));
      if (pairing === null || !isTooOld(pairing, this.#clock.wallMs())) continue;
      await Deno.remove(path).catch(() => {}); // another process may have been faster
    }
  }
}

function targetTag(target: string): string {
  return sha256(new TextEncoder().encode(target)).toHex().slice(0, TARGET_TAG_CHARS);
}

async function readOrNull(path: string): Promise<Uint8Array | null> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw new TransferError("storage", `cannot read ${path}: ${describeError(error)}`, { cause: error });
  }
}

async function filesIn(folder: string): Promise<string[]> {
  try {
    const entries = await Array.fromAsync(Deno.readDir(folder));
    return entries.filter(({ isFile }) => isFile).map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw storageError("read", folder, error);
  }
}
