import assert from "node:assert/strict";
import { noRefusals, REFUSAL_REASONS } from "../../../src/server/knock/refusal.ts";
import { renderStatus } from "../../../src/server/knock/status.ts";
import type { StatusSnapshot } from "../../../src/server/knock/status.ts";
import { parsePrometheus } from "../prometheus_text.ts";

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
