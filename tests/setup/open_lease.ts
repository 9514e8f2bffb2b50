/** What lies in the commander's state folder while a door is open. */
import { formatLeasesFile } from "../../src/commander/knock/leases_file.ts";
import { parseIp } from "../../src/protocol/knock/address.ts";

/** The text of a leases file with one lease, which is due since 1970. */
export function oneOpenLease(): string {
  const lease = {
    command: "open_ssh",
    ip: parseIp("9.9.9.9"),
    undo: "true",
    undoTimeoutMs: 1000,
    undoAfterMs: 1000,
    dueAtMs: 1,
    applied: true,
    undoFailures: 0,
    runId: null,
  };
  return formatLeasesFile({ bootId: "", leases: [lease] });
}
