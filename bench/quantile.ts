/** The value below which the share `q` (0..1) of the values lies, by the nearest rank; null if there are none. */
export function quantile(values: readonly number[], q: number): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? null;
}

export function median(values: readonly number[]): number | null {
  return quantile(values, 0.5);
}
