/** This process, as discovery records name it; no permission is needed for either. */
export function thisProcess(): { readonly pid: number; readonly startTimeMs: number } {
  return { pid: Deno.pid, startTimeMs: Math.round(performance.timeOrigin) };
}
