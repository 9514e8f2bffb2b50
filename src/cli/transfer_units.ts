/** Sizes, speeds and times as people say them. Units are decimal: 1 MB are 1,000,000 bytes. */

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;
const STEP = 1000;
/** Three digits that count: 1.23, 12.3, 123. */
const DIGITS = 3;

/** A size, at most 7 characters long: `0 B`, `999 B`, `1.2 kB`, `12.3 MB`. */
export function formatBytes(bytes: number): string {
  let unit = 0, amount = Math.max(0, bytes);
  // 999.95 kB would be written as 1000 kB.
  while (unit < UNITS.length - 1 && Number(amount.toPrecision(DIGITS)) >= STEP) {
    amount /= STEP;
    unit++;
  }
  return `${unit === 0 ? Math.round(amount) : shortened(amount)} ${UNITS[unit]}`;
}

function shortened(amount: number): string {
  return amount < 100 ? amount.toFixed(1) : Math.round(amount).toString();
}

/** A speed: `3.1 MB/s`. */
export function formatSpeed(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`;
}

const MS_PER_S = 1000, S_PER_MIN = 60, MIN_PER_H = 60;

/** A time, rounded to what matters: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `60 min`. */
export function formatTime(ms: number): string {
  const seconds = Math.max(0, ms) / MS_PER_S;
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  const whole = Math.round(seconds);
  if (whole < S_PER_MIN) return `${whole} s`;
  const minutes = Math.floor(whole / S_PER_MIN);
  if (minutes <= MIN_PER_H) return joined(minutes, "min", whole % S_PER_MIN, "s");
  return joined(Math.floor(minutes / MIN_PER_H), "h", minutes % MIN_PER_H, "min");
}

function joined(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/** A number of things: `1 file`, `1,000 files`. */
export function formatCount(count: number, one: string): string {
  return `${count.toLocaleString("en-US")} ${one}${count === 1 ? "" : "s"}`;
}

/** How far something is; it says 100 only when nothing is missing. */
export function percentOf(done: number, total: number): number {
  return total === 0 ? 100 : Math.min(100, Math.floor(100 * done / total));
}
