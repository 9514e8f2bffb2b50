/** What a link tells: what the other side did. */
import type { LinkError } from "./frame.ts";
import type { ResetCode } from "./reset_code.ts";

/** What a flow is for. */
export type FlowPurpose = "control" | "session";

/** What the other side did. */
export type LinkEvent =
  /** It opens a flow; `accept` or `reset` it. */
  | {
    readonly kind: "open";
    readonly flow: number;
    readonly purpose: FlowPurpose;
    readonly parameters: Uint8Array<ArrayBuffer>;
  }
  /** It took our flow. */
  | { readonly kind: "opened"; readonly flow: number; readonly parameters: Uint8Array<ArrayBuffer> }
  /** Bytes of a flow: a view on what was received, good until more is. */
  | { readonly kind: "data"; readonly flow: number; readonly bytes: Uint8Array }
  /** It writes no more on a flow. */
  | { readonly kind: "end"; readonly flow: number }
  /** The flow is over. */
  | { readonly kind: "reset"; readonly flow: number; readonly code: ResetCode; readonly text: string }
  /** The link is over: it says so. Nothing follows. */
  | { readonly kind: "closed"; readonly code: ResetCode; readonly text: string }
  /** The link is over: it broke the rules. Nothing follows. */
  | { readonly kind: "failed"; readonly error: LinkError };
