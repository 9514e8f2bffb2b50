import assert from "node:assert/strict";
import { noRefusals, REFUSAL_REASONS } from "../../../src/server/knock/refusal.ts";
import { renderStatus } from "../../../src/server/knock/status.ts";
import type { StatusSnapshot } from "../../../src/server/knock/status.ts";
import { StatusWriter } from "../../../src/server/knock/status_writer.ts";
import { Log } from "../../../src/system/log.ts";
import { FakeClock } from "./knocks.ts";

const NOW_MS = Date.UTC(2027, 0, 1);

const snapshot: StatusSnapshot = {
  nowMs: NOW_MS,
  startedAtMs: NOW_MS - 60_000,
  address: "[::]:80",
  received: 1_234_567,
  receiveErrors: 1,
  refused: { ...noRefusals(), unknown_key: 1_234_000, replayed: 2 },
  accepted: 7,
  forwarded: 5,
  forwardFailures: 1,
  queueDepth: 1,
  uncommitted: 0,
  held: 500,
  contested: true,
  floorWrites: 8,
  floorWriteFailures: 1,
  floorsDurable: false,
  floorAgeSeconds: new Map([["user", 61.5], ['we"ird\\st\nem', -3], ["new", null]]),
  lastReload: { atMs: NOW_MS - 1000, error: 'found "x",\naccepted \\y' },
  restartNeeded: ["address"],
};

interface Family {
  type: string;
  help: string;
  samples: { labels: Map<string, string>; value: number }[];
}

/**
 * Reads the text format 0.0.4 as strictly as Prometheus does: HELP and TYPE before the samples of a family, each
 * family in one piece and once, names, escapes and numbers of the right form, a newline at the very end.
 */
function parsePrometheus(text: string): Map<string, Family> {
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

Deno.test("renderStatus() gives strict Prometheus text with everything in it", () => {
  const families = parsePrometheus(renderStatus("/x/knock.prom", snapshot));
  for (const [name, family] of families) {
    assert.match(name, /^postern_knock_/);
    assert.equal(name.endsWith("_total"), family.type === "counter", name);
    assert.ok(family.samples.length > 0, name);
    assert.match(family.help, /\.$/);
    const series = family.samples.map(({ labels }) => JSON.stringify([...labels]));
    assert.equal(new Set(series).size, series.length, `${name} has a series twice`);
  }
  const value = (name: string): number | undefined =>
    families.get(`postern_knock_${name}`)?.samples[0]?.value;
  assert.equal(value("datagrams_received_total"), 1_234_567);
  assert.equal(value("accepted_total"), 7);
  assert.equal(value("forwarded_total"), 5);
  assert.equal(value("forward_failures_total"), 1);
  assert.equal(value("queue_depth"), 1);
  assert.equal(value("contested"), 1);
  assert.equal(value("floors_durable"), 0);
  assert.equal(value("start_time_seconds"), NOW_MS / 1000 - 60);
  assert.equal(value("last_reload_success"), 0);
  assert.equal(value("restart_needed"), 1);
  const refused = families.get("postern_knock_refused_total")?.samples ?? [];
  assert.deepEqual(refused.map(({ labels }) => labels.get("reason")), [...REFUSAL_REASONS]);
  assert.equal(refused.find(({ labels }) => labels.get("reason") === "unknown_key")?.value, 1_234_000);
});

Deno.test("renderStatus() escapes labels so that they come back whole", () => {
  const families = parsePrometheus(renderStatus("status", snapshot));
  const ages = families.get("postern_knock_floor_age_seconds")?.samples ?? [];
  assert.deepEqual(ages.map(({ labels, value }) => [labels.get("key"), value]), [
    ["user", 61.5],
    ['we"ird\\st\nem', -3],
  ]);
  const [info] = families.get("postern_knock_last_reload_error_info")?.samples ?? [];
  assert.equal(info?.labels.get("error"), 'found "x",\naccepted \\y');
});

Deno.test("renderStatus() leaves the reload families out before the first reload", () => {
  const families = parsePrometheus(renderStatus("status", { ...snapshot, lastReload: null }));
  assert.ok(![...families.keys()].some((name) => name.includes("last_reload")));
});

Deno.test("renderStatus() gives JSON for a path that ends in .json", () => {
  const document = JSON.parse(renderStatus("/run/postern/status.json", snapshot));
  assert.equal(document.time, "2027-01-01T00:00:00.000Z");
  assert.equal(document.started_at, "2026-12-31T23:59:00.000Z");
  assert.deepEqual(document.refused, snapshot.refused);
  assert.deepEqual(document.floor_age_seconds, { "user": 61.5, 'we"ird\\st\nem': -3, "new": null });
  assert.deepEqual(document.last_reload, {
    at: "2026-12-31T23:59:59.000Z",
    ok: false,
    error: 'found "x",\naccepted \\y',
  });
  assert.deepEqual(document.restart_needed, ["address"]);
});

Deno.test("write() replaces the file in one step, readable for collectors, and leaves nothing beside it", async () => {
  const folder = await Deno.makeTempDir({ prefix: "postern-status-" });
  const path = `${folder}/status.json`;
  let received = 1;
  const writer = new StatusWriter(
    path,
    () => ({ ...snapshot, received }),
    new Log({ role: "server", format: "text", write: () => {} }),
    new FakeClock(),
  );
  await writer.write();
  assert.equal(JSON.parse(await Deno.readTextFile(path)).received, 1);
  assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o644);
  received = 2;
  const earlier = writer.write();
  received = 3;
  await writer.writeLast();
  await earlier;
  assert.equal(JSON.parse(await Deno.readTextFile(path)).received, 3);
  assert.deepEqual([...Deno.readDirSync(folder)].map((entry) => entry.name), ["status.json"]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("write() logs a failure once a minute and never throws", async () => {
  const lines: string[] = [];
  const log = new Log({ role: "server", format: "text", write: (line) => lines.push(line) });
  const clock = new FakeClock();
  const writer = new StatusWriter("/nowhere/at/all/status.json", () => snapshot, log, clock);
  for (let n = 0; n < 60; n++) {
    await writer.write();
    clock.advance(1000);
  }
  await writer.write();
  assert.equal(lines.length, 2);
  assert.match(lines[0] ?? "", /ERROR server: status file not written path=\/nowhere\/at\/all\/status\.json/);
});
