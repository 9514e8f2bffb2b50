/**
 * The measuring half of the bench, started by main.ts within its isolation:
 *
 *   inside.ts --folder F [--fwknop-missing WHY] [--quick] GROUP...
 */
import { parseArgs } from "node:util";
import { measureBuiltStart } from "./built_start.ts";
import { measureClientStart } from "./client_start.ts";
import { measureFlood, measureUnthrottled } from "./flood.ts";
import { NoFlood } from "./flood_program.ts";
import type { Group } from "./group.ts";
import { endWithParent } from "./isolation.ts";
import { measureLatency } from "./latency.ts";
import { measureBack } from "./manage/back_rows.ts";
import { measureHostCrowd } from "./manage/crowd_rows.ts";
import { measureEcho } from "./manage/echo_rows.ts";
import { measureExec } from "./manage/exec_rows.ts";
import { measureForward } from "./manage/forward_rows.ts";
import { measureMemory } from "./memory.ts";
import type { Message } from "./message.ts";
import { receiveBufferBytes } from "./receive_buffer.ts";
import { measureRelayCrowd, measureRelayStream } from "./relay.ts";
import { measureReplay } from "./replay.ts";
import { atLeast, skippedRow } from "./row.ts";
import { measureInProcess, measureTcp, measureUnix, measureWorker } from "./rpc/ways.ts";
import { measureSniffed } from "./sniffed.ts";
import {
  measureTransferFloor,
  measureTransferMemory,
  measureTransferRandom,
  measureTransferSmall,
  measureTransferText,
} from "./transfer/groups.ts";
import { measureTransferResume } from "./transfer/resume.ts";

const GROUPS: Readonly<Record<string, Group>> = {
  start: measureClientStart,
  built: measureBuiltStart,
  latency: measureLatency,
  flood: measureFlood,
  unthrottled: (context) => measureUnthrottled(context),
  "unthrottled-raised": (context) => measureUnthrottled(context, atLeast(15)),
  sniffed: measureSniffed,
  memory: measureMemory,
  replay: measureReplay,
  tcp: measureTcp,
  unix: measureUnix,
  worker: measureWorker,
  "in-process": measureInProcess,
  "relay-stream": measureRelayStream,
  "relay-crowd": measureRelayCrowd,
  "transfer-floor": measureTransferFloor,
  "transfer-small": measureTransferSmall,
  "transfer-random": measureTransferRandom,
  "transfer-text": measureTransferText,
  "transfer-memory": measureTransferMemory,
  "transfer-resume": measureTransferResume,
  "manage-echo": measureEcho,
  "manage-exec": measureExec,
  "manage-forward": measureForward,
  "manage-back": measureBack,
  "manage-crowd": measureHostCrowd,
};

const encoder = new TextEncoder();

function tell(message: Message): void {
  const bytes = encoder.encode(`${JSON.stringify(message)}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

async function runGroup(name: string, context: Parameters<Group>[0]): Promise<void> {
  try {
    const group = GROUPS[name];
    if (group === undefined) throw new TypeError(`no such group: "${name}"`);
    tell({ kind: "rows", rows: await group(context) });
  } catch (error) {
    if (error instanceof NoFlood) tell({ kind: "rows", rows: [skippedRow(name, name, error.message)] });
    else tell({ kind: "failed", group: name, error: error instanceof Error ? error.message : String(error) });
  }
}

void endWithParent();
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    folder: { type: "string" },
    "fwknop-missing": { type: "string" },
    quick: { type: "boolean", default: false },
  },
});
for (const name of positionals) {
  await runGroup(name, {
    folder: values.folder ?? ".",
    isQuick: values.quick,
    fwknopMissing: values["fwknop-missing"] ?? null,
    receiveBufferBytes: receiveBufferBytes(),
    progress: (line) => tell({ kind: "progress", line }),
  });
}
Deno.exit(0);
