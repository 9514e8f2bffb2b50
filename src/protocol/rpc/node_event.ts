/** What a node tells the program that runs it, for logs; none of it needs an answer. */
import type { PeerInfo } from "./contract.ts";
import type { ConnectionError } from "./errors.ts";

/**
 * - `listening`: connections are taken at the address
 * - `strangers_can_call`: they are taken at an address that other machines or users may reach, with a handshake that
 *   shows nothing of who they are; told once, and meant as a warning
 * - `connected`: a handshake succeeded; `by` says which side dialled
 * - `refused`: one that came to us failed
 * - `disconnected`: a connection that had been taken is gone
 * - `attempt_failed`: connecting to a service failed; it is tried again after `retryMs`
 * - `handler_failed`: a handler failed with something that is no `RpcError`
 * - `problem`: something else failed that the node lives on with: taking a connection, renewing or withdrawing a record
 */
export type NodeEvent =
  | { readonly kind: "listening"; readonly address: string }
  | { readonly kind: "strangers_can_call"; readonly address: string }
  | { readonly kind: "connected"; readonly by: "here" | "there"; readonly peer: PeerInfo }
  | { readonly kind: "refused"; readonly remoteAddress: string | null; readonly error: unknown }
  | { readonly kind: "disconnected"; readonly peer: PeerInfo; readonly error: ConnectionError }
  | { readonly kind: "attempt_failed"; readonly error: unknown; readonly retryMs: number }
  | { readonly kind: "handler_failed"; readonly method: string; readonly error: unknown }
  | { readonly kind: "problem"; readonly error: unknown };

/** Takes events. What it throws is thrown again outside of the node, which does not suffer from it. */
export type NodeEventListener = (event: NodeEvent) => void;

/** A listener that never throws into the code that reports. */
export function guardedListener(onEvent: NodeEventListener | undefined): NodeEventListener {
  return (event) => {
    try {
      onEvent?.(event);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  };
}
