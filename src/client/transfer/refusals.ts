/** What a receiver refuses before it takes anything. */
import type { TransferErrorCode } from "../../protocol/transfer/errors.ts";

/** Reasons after which nobody comes back for the rest, if nothing was accepted before: the sender makes a new code. */
export const REFUSALS: ReadonlySet<TransferErrorCode> = new Set<TransferErrorCode>([
  "refused",
  "path",
  "collision",
  "exists",
  "limit",
]);
