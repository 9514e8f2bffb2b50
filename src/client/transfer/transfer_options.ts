/** What sharing and receiving are told in common. */
import { systemRandomBytes, systemTimers } from "../../protocol/rpc/timers.ts";
import type { RandomBytes, Timers } from "../../protocol/rpc/timers.ts";
import type { OnTransferEvent } from "../../protocol/transfer/events.ts";
import { DEFAULT_GRACE_MS, DEFAULT_WAIT_MS } from "../../protocol/transfer/limits.ts";
import type { Connection } from "../../protocol/transport/transport.ts";
import { usableStateFolder } from "./state_folder.ts";

/** Options of {@link share} and {@link receive}. */
export interface TransferOptions {
  /**
   * Opens a connection to the relay, or to the other side itself; asked again after each that was lost. Any transport
   * will do: `(signal) => tcp("relay.example:8080").connect(undefined, { signal })`.
   */
  connect(signal: AbortSignal): Promise<Connection>;
  /** Whether `connect` reaches a relay, and not the other side itself. @default true */
  readonly throughRelay?: boolean | undefined;
  /** How long a lost link, or a relay that cannot be reached, is tried again, in milliseconds. @default 120_000 */
  readonly graceMs?: number | undefined;
  /** How long the other side is waited for at first, in milliseconds. @default 3_600_000 */
  readonly waitMs?: number | undefined;
  /**
   * Folder of what is needed to go on after a restart, 0700, made if it is missing; null: nothing is kept. Without it
   * `$XDG_STATE_HOME/postern/transfers` or `~/.local/state/postern/transfers`, if reading and writing it is permitted.
   */
  readonly stateFolder?: string | null | undefined;
  /** Is told what happens; must not throw. */
  readonly onEvent?: OnTransferEvent | undefined;
  /** Is told what a person should know, a line each: what is left out, why nothing can be resumed. Must not throw. */
  readonly onNotice?: ((line: string) => void) | undefined;
  /**
   * Ends the transfer, which rejects with the signal's reason when everything is closed. The other side takes it for a
   * lost link, and the same call goes on where it was.
   */
  readonly signal?: AbortSignal | undefined;
}

/** The same, complete. */
export interface TransferParts {
  readonly dial: TransferOptions["connect"];
  readonly throughRelay: boolean;
  readonly graceMs: number;
  readonly waitMs: number;
  readonly onEvent: OnTransferEvent;
  readonly signal: AbortSignal;
  readonly timers: Timers;
  readonly random: RandomBytes;
}

/** Fills in what is not said. */
export function transferParts(options: TransferOptions): TransferParts {
  return {
    dial: (signal) => options.connect(signal),
    throughRelay: options.throughRelay ?? true,
    graceMs: options.graceMs ?? DEFAULT_GRACE_MS,
    waitMs: options.waitMs ?? DEFAULT_WAIT_MS,
    onEvent: options.onEvent ?? (() => {}),
    signal: options.signal ?? new AbortController().signal,
    timers: systemTimers,
    random: systemRandomBytes,
  };
}

/** Where state is kept; null: nowhere. */
export function stateFolderOf({ stateFolder }: TransferOptions): string | null {
  return stateFolder === undefined ? usableStateFolder() : stateFolder;
}
