/** What the measuring process tells the one that prints: one line of JSON per message. */
import type { Row } from "./row.ts";

export type Message =
  | { readonly kind: "progress"; readonly line: string }
  | { readonly kind: "rows"; readonly rows: readonly Row[] }
  /** A group that broke off: a defect, unlike a row that is skipped. */
  | { readonly kind: "failed"; readonly group: string; readonly error: string };

export function parseMessage(line: string): Message {
  return JSON.parse(line);
}
