/** What a refusal was decided by, for the log: values found in an authentic packet, and those accepted. */

/** Names and values of log fields. Of bounded size. */
export type RefusalFacts = Readonly<Record<string, string | number | bigint>>;

/** Values of a list that a log line shows; the rest is counted. */
const SHOWN_VALUES = 4;

/** A list of any length as one short value: `a,b,c,d,+3`, or `none`. */
export function shortList(values: Iterable<string>): string {
  const all = [...values];
  if (all.length === 0) return "none";
  const more = all.length > SHOWN_VALUES ? [`+${all.length - SHOWN_VALUES}`] : [];
  return [...all.slice(0, SHOWN_VALUES), ...more].join(",");
}
