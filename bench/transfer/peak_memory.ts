/** The most resident memory that a process had, as the kernel counts it (VmHWM). Linux only. */

const BYTES_PER_KB = 1024;
const BYTES_PER_MB = 1e6;
/** The kernel keeps the peak itself; only growth in the last moments of a process can be missed. */
const EVERY_MS = 20;

/** Megabytes; 0 for a process that is gone. */
export function peakMb(pid: number): number {
  try {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * BYTES_PER_KB / BYTES_PER_MB;
  } catch {
    return 0;
  }
}

/** Looks again and again, since a process that has ended cannot be asked. */
export class PeakMemory {
  readonly #timer: ReturnType<typeof setInterval>;
  #megabytes = 0;

  constructor(pid: number) {
    this.#timer = setInterval(() => this.#megabytes = Math.max(this.#megabytes, peakMb(pid)), EVERY_MS);
  }

  stop(): number {
    clearInterval(this.#timer);
    return this.#megabytes;
  }
}
