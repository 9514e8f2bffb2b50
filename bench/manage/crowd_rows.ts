/** Thousands of idle hosts on one management server: what they cost, and how fast they come back. */
import type { GroupContext } from "../group.ts";
import { atMost, makeRow, type Row, type RowInput } from "../row.ts";
import { sleep } from "../sleep.ts";
import { cpuSeconds, residentMb } from "../usage.ts";
import { HostCrowd } from "./crowd.ts";

const GROUP = "manage-crowd";
const HOSTS = 5_000, QUICK_HOSTS = 200;
const PROCESSES = 2;
const LIMIT_MB = 1_000, LIMIT_PERCENT = 10;
/** Longer than a round of latencies takes, and several heartbeats. */
const IDLE_MS = 60_000, QUICK_IDLE_MS = 10_000;
/** After all have come: what that has left in memory goes. */
const REST_MS = 15_000, QUICK_REST_MS = 1_000;
const PATIENCE_MS = 240_000;
const POLL_MS = 20;
const MS_PER_S = 1000;

/** What one way to all of them took. */
interface Coming {
  readonly seconds: number;
  /** Of the server alone. */
  readonly cpuSeconds: number;
}

/** One server, all hosts at once. */
export async function measureHostCrowd(context: GroupContext): Promise<Row[]> {
  const { isQuick } = context, hosts = isQuick ? QUICK_HOSTS : HOSTS;
  context.progress(`${hosts} hosts: registering them`);
  await using crowd = await HostCrowd.make({ hosts, processes: PROCESSES });
  const emptyMb = residentMb(crowd.serverPid);
  context.progress(`${hosts} hosts: they dial`);
  const first = await allLinked(crowd, () => crowd.come());
  await sleep(isQuick ? QUICK_REST_MS : REST_MS);
  const idleMs = isQuick ? QUICK_IDLE_MS : IDLE_MS;
  context.progress(`${hosts} hosts: idle for ${idleMs / MS_PER_S} s`);
  const before = cpuSeconds(crowd.serverPid);
  await sleep(idleMs);
  const percent = 100 * (cpuSeconds(crowd.serverPid) - before) / (idleMs / MS_PER_S);
  const fullMb = residentMb(crowd.serverPid);
  context.progress(`${hosts} hosts: the server is restarted`);
  const again = await allLinked(crowd, () => crowd.restartServer());
  const failed = [...crowd.failures].map(([reason, count]) => `${count} x ${reason}`).join("; ");
  const row = (figure: string, unit: string, ours: number, more: Partial<RowInput> = {}): Row =>
    makeRow({ group: GROUP, figure: `${hosts} idle hosts, ${figure}`, unit, ours, ...more });
  return [
    row("resident memory of the server", "MB", fullMb, {
      goal: atMost(LIMIT_MB),
      note: `${emptyMb.toFixed(0)} MB without hosts; real TLS for all, in ${PROCESSES} processes`,
    }),
    row(`CPU of the server over ${idleMs / MS_PER_S} s`, "% of a core", percent, {
      goal: atMost(LIMIT_PERCENT),
    }),
    row("until all are linked", "s", first.seconds, {
      note: `${first.cpuSeconds.toFixed(1)} s of CPU of the server`,
    }),
    row("until all are back after a restart of the server", "s", again.seconds, {
      note: `${again.cpuSeconds.toFixed(1)} s of CPU of the new server; failed attempts: ${failed || "none"}`,
    }),
  ];
}

/** Does something, then waits until every host is linked. */
async function allLinked(crowd: HostCrowd, act: () => Promise<void>): Promise<Coming> {
  const beganMs = performance.now();
  await act();
  const deadlineMs = beganMs + PATIENCE_MS;
  while (crowd.linked < crowd.size.hosts) {
    if (performance.now() > deadlineMs) {
      throw new Error(`${crowd.linked} of ${crowd.size.hosts} hosts are linked after ${PATIENCE_MS} ms`);
    }
    await sleep(POLL_MS);
  }
  return { seconds: (performance.now() - beganMs) / MS_PER_S, cpuSeconds: cpuSeconds(crowd.serverPid) };
}
