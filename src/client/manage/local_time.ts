/** Moments as people read them, in the time zone of this machine: `2026-11-21 20:14:05`. */
export function localTime(ms: number): string {
  const date = new Date(ms);
  // A moment that no calendar holds comes from a server that says what it likes.
  if (Number.isNaN(date.getTime())) return "an unknown time";
  const two = (value: number): string => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
