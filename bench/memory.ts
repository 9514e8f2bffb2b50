/** Resident memory at rest, after some knocks. */
import { Fwknop } from "./fwknop.ts";
import type { GroupContext } from "./group.ts";
import { Postern } from "./postern.ts";
import { atMost, makeRow, type Row } from "./row.ts";
import { knockOnce, Sender } from "./series.ts";
import { sleep } from "./sleep.ts";
import { residentMb } from "./usage.ts";

const GROUP = "memory";
const KNOCKS = 10;
const REST_MS = 2000;
const LIMIT_MB = 80;

export async function measureMemory(context: GroupContext): Promise<Row[]> {
  context.progress("memory at rest");
  await using postern = await Postern.start(context.folder);
  await using fwknop = context.fwknopMissing === null ? await Fwknop.start(context.folder, "tuned") : null;
  using sender = new Sender();
  for (const program of [postern, fwknop]) {
    for (let at = 0; program !== null && at < KNOCKS; at++) await knockOnce(program, "datagram", sender);
  }
  await sleep(REST_MS);
  const peer = fwknop === null
    ? { name: "fwknopd", value: null, missing: context.fwknopMissing ?? "not started" }
    : { name: "fwknopd", value: residentMb(fwknop.serverPid) };
  const row = (figure: string, pid: number): Row =>
    makeRow({
      group: GROUP,
      figure,
      unit: "MB",
      ours: residentMb(pid),
      beside: [peer],
      goal: atMost(LIMIT_MB),
    });
  return [
    row("server, resident memory at rest", postern.serverPid),
    row("commander, resident memory at rest", postern.commanderPid),
  ];
}
