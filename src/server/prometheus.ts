/** The Prometheus text format, version 0.0.4, as far as a status file needs it. */

/** One value of a metric family, with the labels that tell it from the others. */
export interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/**
 * One family with its HELP and TYPE lines; nothing at all without a sample.
 *
 * @param name the whole name, with the prefix of its program
 * @param values a number is one sample without labels
 */
export function metricFamily(
  name: string,
  type: "counter" | "gauge",
  help: string,
  values: number | readonly Sample[],
): string {
  const samples: readonly Sample[] = typeof values === "number" ? [{ value: values }] : values;
  if (samples.length === 0) return "";
  const lines = samples.map(({ labels, value }) => `${name}${renderLabels(labels ?? {})} ${value}`);
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines, ""].join("\n");
}

function renderLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

/** The format's own three escapes; everything else stands as UTF-8. A lone surrogate has no UTF-8. */
function escapeLabel(value: string): string {
  return value.toWellFormed().replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
