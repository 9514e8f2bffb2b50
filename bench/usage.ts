/** What a process takes of the machine, as the kernel counts it. Linux only. */
import { sleep } from "./sleep.ts";

const BUSY_SAMPLE_MS = 1000;
const BYTES_PER_KB = 1024;
const BYTES_PER_MB = 1e6;
/** USER_HZ, which is 100 on every Linux that Deno runs on. */
const TICKS_PER_SECOND = 100;
/** Fields of /proc/PID/stat counted behind the name, which may itself hold spaces. */
const UTIME_FIELD = 11, STIME_FIELD = 12;

/** Resident memory in megabytes; 0 for a process that is gone. */
export function residentMb(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readProc(pid, "status"))?.[1];
  return Number(kilobytes ?? 0) * BYTES_PER_KB / BYTES_PER_MB;
}

/** CPU time used so far, without that of children. */
export function cpuSeconds(pid: number): number {
  const stat = readProc(pid, "stat");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[UTIME_FIELD] ?? 0) + Number(fields[STIME_FIELD] ?? 0)) / TICKS_PER_SECOND;
}

/** CPU time used so far by a process and all that it has started and that still runs. */
export function treeCpuSeconds(pid: number): number {
  const children = readProc(pid, `task/${pid}/children`).split(" ").filter((each) => each !== "").map(Number);
  return children.reduce((sum, child) => sum + treeCpuSeconds(child), cpuSeconds(pid));
}

/** How much of the machine others use in the next second, in percent: what a figure is worth depends on it. */
export async function busyPercent(): Promise<number> {
  const before = cpuTimes();
  await sleep(BUSY_SAMPLE_MS);
  const after = cpuTimes();
  return Math.round(100 * (1 - (after.idle - before.idle) / Math.max(1, after.all - before.all)));
}

function cpuTimes(): { all: number; idle: number } {
  const [line = ""] = Deno.readTextFileSync("/proc/stat").split("\n");
  const ticks = line.split(/\s+/).slice(1).map(Number);
  return { all: ticks.reduce((sum, value) => sum + value, 0), idle: (ticks[3] ?? 0) + (ticks[4] ?? 0) };
}

function readProc(pid: number, file: string): string {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/${file}`);
  } catch {
    return "";
  }
}
