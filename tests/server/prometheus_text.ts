/** What a Prometheus server reads of a status file. */
import assert from "node:assert/strict";

/** One metric family. */
export interface Family {
  type: string;
  help: string;
  samples: { labels: Map<string, string>; value: number }[];
}

/**
 * Reads the text format 0.0.4 as strictly as Prometheus does: HELP and TYPE before the samples of a family, each
 * family in one piece and once, names, escapes and numbers of the right form, a newline at the very end.
 */
export function parsePrometheus(text: string): Map<string, Family> {
  assert.ok(text.endsWith("\n"));
  const families = new Map<string, Family>();
  let current: string | null = null;
  let help = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const helpLine = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) ((?:[^\\\n]|\\\\|\\n)+)$/.exec(line);
    const typeLine = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge)$/.exec(line);
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(line);
    if (helpLine !== null) {
      assert.ok(!families.has(helpLine[1] ?? ""), `a second HELP: ${line}`);
      current = helpLine[1] ?? "";
      help = helpLine[2] ?? "";
    } else if (typeLine !== null) {
      assert.equal(typeLine[1], current, `TYPE without its HELP: ${line}`);
      families.set(typeLine[1] ?? "", { type: typeLine[2] ?? "", help, samples: [] });
    } else if (sample !== null) {
      assert.equal(sample[1], current, `a sample outside its family: ${line}`);
      const labels = parseLabels(sample[2] ?? "");
      const family = families.get(sample[1] ?? "");
      assert.ok(family !== undefined, `a sample without TYPE: ${line}`);
      family.samples.push({ labels, value: Number(sample[3]) });
    } else assert.fail(`not a line of the format: ${JSON.stringify(line)}`);
  }
  return families;
}

function parseLabels(text: string): Map<string, string> {
  const labels = new Map<string, string>();
  let rest = text;
  while (rest !== "") {
    const pair = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,(?=.)|$)/.exec(rest);
    assert.ok(pair !== null, `not labels: ${rest}`);
    const value = (pair[2] ?? "").replace(/\\(.)/g, (_, escaped) => escaped === "n" ? "\n" : escaped);
    labels.set(pair[1] ?? "", value);
    rest = rest.slice(pair[0].length);
  }
  return labels;
}
