/**
 * The status file of a relay: what it counted, nothing that a client said and nobody's address. A path that ends in `.json`
 * gets JSON, any other the Prometheus text format (version 0.0.4).
 */
import { metricFamily, type Sample } from "../prometheus.ts";
import type { SwitchboardCounts } from "./switchboard.ts";

/** Everything the file tells, as of one moment. */
export interface RelayStatus {
  readonly nowMs: number;
  readonly startedAtMs: number;
  /** Where it listens. */
  readonly address: string;
  /** Connections without an identifier, connections that wait for another one, and pairs, at this moment. */
  readonly arriving: number;
  readonly parked: number;
  readonly staples: number;
  /** Failed accept calls since the start: no more files may be open, say. */
  readonly acceptFailures: number;
  /** Since the start. */
  readonly counts: SwitchboardCounts;
}

/** Renders a status in the format that the path asks for. */
export function renderRelayStatus(path: string, status: RelayStatus): string {
  return path.endsWith(".json") ? renderJson(status) : renderPrometheus(status);
}

const MS_PER_SECOND = 1000;

function renderJson({ nowMs, startedAtMs, counts, ...now }: RelayStatus): string {
  const document = {
    time: new Date(nowMs).toISOString(),
    started_at: new Date(startedAtMs).toISOString(),
    address: now.address,
    arriving: now.arriving,
    parked: now.parked,
    staples: now.staples,
    admitted_total: counts.admitted,
    parked_total: counts.parkedTotal,
    stapled_total: counts.stapledTotal,
    refused: counts.refused,
    timed_out: counts.timedOut,
    bytes: counts.bytes,
    accept_failures: now.acceptFailures,
  };
  return JSON.stringify(document, null, 2) + "\n";
}

function renderPrometheus({ nowMs, startedAtMs, counts, ...now }: RelayStatus): string {
  return [
    metric("status_timestamp_seconds", "gauge", "Unix time of this file.", nowMs / MS_PER_SECOND),
    metric(
      "start_time_seconds",
      "gauge",
      "Unix time at which the relay started.",
      startedAtMs / MS_PER_SECOND,
    ),
    metric("arriving", "gauge", "Connections that have not said their identifier.", now.arriving),
    metric("parked", "gauge", "Connections that wait for another one.", now.parked),
    metric("staples", "gauge", "Pairs of connections.", now.staples),
    metric("admitted_total", "counter", "Connections that were let in.", counts.admitted),
    metric("parked_total", "counter", "Connections that were parked.", counts.parkedTotal),
    metric("stapled_total", "counter", "Pairs that were made.", counts.stapledTotal),
    metric("refused_total", "counter", "Connections refused, by reason.", by("reason", counts.refused)),
    metric(
      "timed_out_total",
      "counter",
      "Connections (idle: pairs) whose time was over.",
      by("state", counts.timedOut),
    ),
    metric("bytes_total", "counter", "Bytes from one client to another.", counts.bytes),
    metric("accept_failures_total", "counter", "Failed accept calls.", now.acceptFailures),
  ].join("");
}

function by(label: string, counts: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(counts).map(([name, value]) => ({ labels: { [label]: name }, value }));
}

/** One family of the relay. */
function metric(
  name: string,
  type: "counter" | "gauge",
  help: string,
  values: number | readonly Sample[],
): string {
  return metricFamily(`postern_relay_${name}`, type, help, values);
}
