/** What every group of rows is run with. */
import type { Row } from "./row.ts";

export interface GroupContext {
  /** Temporary folder; whoever made it removes it. */
  readonly folder: string;
  /** A smoke run: everything once, small numbers. */
  readonly isQuick: boolean;
  /** Why fwknop cannot be measured here; null if it can. */
  readonly fwknopMissing: string | null;
  /** net.core.rmem_default at this moment, in bytes; null where it cannot be read. */
  readonly receiveBufferBytes: number | null;
  readonly progress: (line: string) => void;
}

export type Group = (context: GroupContext) => Promise<Row[]>;

/** Names the receive buffer in a figure that depends on it. */
export function bufferLabel({ receiveBufferBytes }: GroupContext): string {
  return `rmem_default ${receiveBufferBytes ?? "unknown"}`;
}
