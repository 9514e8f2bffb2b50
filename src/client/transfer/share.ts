/**
 * Sharing: the library's face of the sender.
 *
 *   what -> a source (walk, spool or memory) and what is remembered of it (ShareState) -> a code -> runShare
 */
import { chooseCode, generateCode, parseCode, type TransferCode } from "../../protocol/transfer/code.ts";
import { TransferError, type TransferErrorCode } from "../../protocol/transfer/errors.ts";
import type { TransferEvent } from "../../protocol/transfer/events.ts";
import { MAX_TEXT_BYTES } from "../../protocol/transfer/offer_check.ts";
import { runShare } from "../../protocol/transfer/share_run.ts";
import type { Source } from "../../protocol/transfer/source.ts";
import { systemClock } from "../../system/clock.ts";
import { absolutePath } from "../../system/path.ts";
import { ZstdCompression } from "./compression.ts";
import { FileSource } from "./file_source.ts";
import { FileList } from "./file_source_list.ts";
import { MemorySource } from "./file_source_memory.ts";
import { REFUSALS } from "./refusals.ts";
import { ShareState, type ShareStateOptions } from "./share_state.ts";
import { SharePlace } from "./share_state_place.ts";
import { spoolStream } from "./spool.ts";
import { stateFolderOf, type TransferOptions, transferParts } from "./transfer_options.ts";
import { walkPaths } from "./walk.ts";

/** What is shared. */
export type ShareWhat =
  /** Files and folders by their paths; a relative one counts from the current folder. */
  | { readonly paths: readonly string[] }
  /** A text, which the other side is given as a text; at most 1 MiB of UTF-8. */
  | { readonly text: string }
  /** All that a stream gives, as one file of that name. */
  | { readonly stream: ReadableStream<Uint8Array>; readonly name: string };

/** Options of {@link share}. */
export interface ShareOptions extends TransferOptions {
  /** The code that the other side needs; without it one is made, and told by the event `code`. */
  readonly code?: string | undefined;
  /** How many may receive it, each by the same code. @default 1 */
  readonly receivers?: number | undefined;
  /** Name of the relay. A share that was interrupted goes on if the same is shared through the same relay. */
  readonly relay?: string | undefined;
  /** Begins anew with a new code, also if an interrupted share of the same could go on. @default false */
  readonly fresh?: boolean | undefined;
}

/**
 * Shares until every receiver has everything, verified. The event `code` tells the code that the other side needs. If it
 * was interrupted before, by a lost link or the end of the program, the same call goes on: with the same code if nobody
 * has used it, else with those who have, and what they have already is not sent again.
 *
 * Needs what `connect` needs, reading what is shared and, to go on after a restart, reading and writing the state folder.
 *
 * @throws {TransferError} why it failed: of several receivers the first one's reason, after the others have ended
 * @throws {Failure} if something that is to be shared cannot be
 * @throws the reason of `signal`
 */
export async function share(what: ShareWhat, options: ShareOptions): Promise<void> {
  const chosen = options.code === undefined ? null : chooseCode(options.code);
  await using owned = new AsyncDisposableStack();
  const { source, state } = await sharedThing(what, options, owned);
  tellEarlier(chosen, state, options);
  let isDone = false;
  try {
    await run(source, state, await offeredCode(chosen, state, options), options);
    isDone = true;
  } finally {
    // What can go on is kept, and nothing else: not where the only receiver did not want it, either.
    await (isDone || state.isOver ? state.forget() : state.close());
  }
}

async function run(
  source: Source,
  state: ShareState,
  code: TransferCode | null,
  options: ShareOptions,
): Promise<void> {
  const { resume, admissible: receivers } = state;
  const parts = transferParts(options);
  const watch = new ReceiverWatch(state, parts.onEvent);
  const compression = new ZstdCompression();
  try {
    await runShare({
      ...parts,
      source,
      compression,
      code,
      resume,
      receivers,
      memoryOf: (receiver) => state.memoryOf(receiver),
      finished: (receiver) => state.finished(receiver),
      onEvent: (event) => watch.take(event),
    });
  } catch (error) {
    await watch.failed(error, resume.length + receivers);
    throw error;
  }
}

const ONE = 1;
const NO_FINGERPRINT_BYTES = 32;

/** What is sent, and what is remembered of it. */
interface SharedThing {
  readonly source: Source;
  readonly state: ShareState;
}

function sharedThing(
  what: ShareWhat,
  options: ShareOptions,
  owned: AsyncDisposableStack,
): Promise<SharedThing> {
  if ("text" in what) return sharedText(what.text, options);
  return "paths" in what ? sharedFiles(what.paths, options, owned) : sharedStream(what, options, owned);
}

async function sharedFiles(
  paths: readonly string[],
  options: ShareOptions,
  owned: AsyncDisposableStack,
): Promise<SharedThing> {
  const { signal, onNotice } = options;
  const folder = stateFolderOf(options);
  const leaveOut = folder === null ? [] : [folder];
  const walk = await walkPaths(paths, { leaveOut, ...(signal === undefined ? {} : { signal }) });
  for (const notice of walk.notices) onNotice?.(notice);
  const place = await takenPlace(paths.map(absolutePath), options, owned);
  const { files } = walk;
  const state = await openState(
    place,
    { ...stateOptions(options), files, fingerprint: await files.fingerprint() },
    options,
  );
  return { source: owned.use(new FileSource(files, state.hashes)), state };
}

async function sharedStream(
  { stream, name }: Extract<ShareWhat, { readonly name: string }>,
  options: ShareOptions,
  owned: AsyncDisposableStack,
): Promise<SharedThing> {
  const { signal } = options;
  const place = await takenPlace(["-", name], options, owned);
  const spooled = await spoolStream(stream, { name, place, ...(signal === undefined ? {} : { signal }) });
  if (spooled.kind === "memory") {
    return { source: spooled.source, state: await stateInMemory(place, options) };
  }
  const { files, fingerprint, modifiedMs } = spooled;
  const state = await openState(
    place,
    { ...stateOptions(options), files, fingerprint, modifiedMs },
    options,
  );
  spooled.tellHashes(state.hashes);
  return { source: owned.use(new FileSource(files, state.hashes)), state };
}

/** Nothing of a text is kept: its hash on the disk could be guessed at. */
async function sharedText(
  text: string,
  options: ShareOptions,
): Promise<SharedThing> {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > MAX_TEXT_BYTES) {
    throw new TransferError(
      "limit",
      `cannot share a text of ${bytes.length} bytes, accepted are ${MAX_TEXT_BYTES}: share it as a file`,
    );
  }
  const place = await SharePlace.take(null, keyOf(["text"], options), systemClock);
  const source = new MemorySource("text", "text", bytes, Date.now());
  return { source, state: await stateInMemory(place, options) };
}

async function takenPlace(
  what: readonly string[],
  options: ShareOptions,
  owned: AsyncDisposableStack,
): Promise<SharePlace> {
  const folder = stateFolderOf(options);
  if (folder === null) {
    options.onNotice?.("no state folder may be used, so this share cannot go on once its program has ended");
  }
  const place = await SharePlace.take(folder, keyOf(what, options), systemClock);
  // Given back by the state, too, as soon as there is one.
  return owned.use(place);
}

function keyOf(
  what: readonly string[],
  { relay = "", receivers = ONE }: ShareOptions,
): Parameters<typeof SharePlace.take>[1] {
  return { what, relay, receivers };
}

function stateOptions(
  { receivers = ONE, fresh = false }: ShareOptions,
): Pick<ShareStateOptions, "receivers" | "isFresh"> {
  return { receivers, isFresh: fresh };
}

function stateInMemory(
  place: SharePlace,
  options: ShareOptions,
): Promise<ShareState> {
  const fingerprint = new Uint8Array(NO_FINGERPRINT_BYTES);
  return openState(place, { ...stateOptions(options), files: new FileList(), fingerprint }, options);
}

async function openState(
  place: SharePlace,
  stateOptions: ShareStateOptions,
  { onNotice }: ShareOptions,
): Promise<ShareState> {
  const state = await ShareState.open(place, stateOptions);
  for (const notice of state.notices) onNotice?.(notice);
  return state;
}

/** Durable before anybody is told it. */
async function offeredCode(
  chosen: TransferCode | null,
  state: ShareState,
  options: ShareOptions,
): Promise<TransferCode | null> {
  if (state.admissible === 0) return null;
  const kept = state.code === null ? null : parseCode(state.code);
  const code = chosen ?? kept ?? generateCode(transferParts(options).random);
  await state.offerCode(code.text);
  return code;
}

/** The other side may be asked for its code again, also where nobody is admitted by it any more and it is not told. */
function tellEarlier(chosen: TransferCode | null, state: ShareState, { onNotice }: ShareOptions): void {
  const { usedCode, code, resume } = state;
  if (usedCode !== null) return onNotice?.(goingOn(resume.length, usedCode));
  if (code !== null && chosen === null) onNotice?.("the code is the same as before");
}

function goingOn(receivers: number, code: string): string {
  const who = receivers === ONE ? "the receiver" : `${receivers} receivers`;
  return `going on with ${who} from before, who runs the same command again, with the same code: ${code} ` +
    "(--fresh makes a new one)";
}

/** Keeps in the state what became of each receiver. */
class ReceiverWatch {
  readonly #state: ShareState;
  readonly #onEvent: (event: TransferEvent) => void;
  /** Those that have taken the offer, and may come back for the rest of it whatever ended them. */
  readonly #accepted = new Set<number>();
  #writing: Promise<unknown> = Promise.resolve();

  constructor(state: ShareState, onEvent: (event: TransferEvent) => void) {
    this.#state = state;
    this.#onEvent = onEvent;
  }

  take(event: TransferEvent): void {
    if (event.event === "accepted") this.#accepted.add(event.receiver);
    if (event.event === "paired" && event.resumed) this.#keep(this.#state.paired(event.receiver));
    if (event.event === "receiver_failed") this.#ended(event.receiver, event.reason);
    this.#onEvent(event);
  }

  /** The run has failed; of a single receiver no event tells that. */
  async failed(error: unknown, receivers: number): Promise<void> {
    if (receivers === ONE && error instanceof TransferError) this.#ended(ONE, error.code);
    await this.#writing;
  }

  #ended(receiver: number, reason: TransferErrorCode): void {
    if (REFUSALS.has(reason) && !this.#accepted.has(receiver)) this.#keep(this.#state.finished(receiver));
  }

  /** What cannot be kept is no reason to end: the next run waits for somebody in vain, at worst. */
  #keep(change: Promise<void>): void {
    this.#writing = Promise.all([this.#writing, change.catch(() => {})]);
  }
}
