/** A knock program under test, so that the same series runs against ours and against a peer. */
import type { StampFile } from "./stamp_file.ts";

export interface KnockProgram extends AsyncDisposable {
  readonly name: string;
  /** UDP port on 127.0.0.1. */
  readonly port: number;
  /** The process that strangers can reach. */
  readonly serverPid: number;
  readonly stamps: StampFile;
  /** Datagrams good for one stamp each; `ids` become the ids of the stamps. */
  makePackets(ids: readonly string[]): Promise<Uint8Array[]>;
  /** The program's own client, sending one such knock. */
  clientCommand(id: string): Deno.Command;
  /** Ends the server with SIGKILL and starts it again on the same state. */
  restart(): Promise<void>;
}
