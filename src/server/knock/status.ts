/**
 * The status file: what the server counted, for `postern client doctor` and for a Prometheus textfile collector. It
 * opens no port. A path that ends in `.json` gets JSON, any other the Prometheus text format (version 0.0.4).
 */
import { metricFamily, type Sample } from "../prometheus.ts";
import type { RefusalCounts } from "./refusal.ts";

/** How the last reload went; null before the first. */
export interface ReloadStatus {
  readonly atMs: number;
  /** null: it worked. */
  readonly error: string | null;
}

/** Everything the file tells, as of one moment. Counts are since the start. */
export interface StatusSnapshot {
  readonly nowMs: number;
  readonly startedAtMs: number;
  /** Where it listens. */
  readonly address: string;
  /** Datagrams of any kind. */
  readonly received: number;
  readonly receiveErrors: number;
  readonly refused: RefusalCounts;
  /** Knocks that were good and went to the forwarder. */
  readonly accepted: number;
  /** Of these: delivered to the commander, and given up. */
  readonly forwarded: number;
  readonly forwardFailures: number;
  /** Knocks that wait for a connection to the commander. */
  readonly queueDepth: number;
  /** Spent packets that wait for the disk. */
  readonly uncommitted: number;
  /** Packets that had to wait for a draw, and whether some wait now: a sniffed key id is being flooded. */
  readonly held: number;
  readonly contested: boolean;
  readonly floorWrites: number;
  readonly floorWriteFailures: number;
  /** Whether every floor in memory is on disk. */
  readonly floorsDurable: boolean;
  /**
   * Seconds since each key's floor, by file stem: about the time since its last knock. Negative is a floor ahead of
   * the clock; null is none.
   */
  readonly floorAgeSeconds: ReadonlyMap<string, number | null>;
  readonly lastReload: ReloadStatus | null;
  /** Settings that were changed in the file but take effect only after a restart. */
  readonly restartNeeded: readonly string[];
}

/** Renders a snapshot in the format that the path asks for. */
export function renderStatus(path: string, status: StatusSnapshot): string {
  return path.endsWith(".json") ? renderJson(status) : renderPrometheus(status);
}

const MS_PER_SECOND = 1000;

function renderJson(status: StatusSnapshot): string {
  const reload = status.lastReload;
  const document = {
    time: new Date(status.nowMs).toISOString(),
    started_at: new Date(status.startedAtMs).toISOString(),
    address: status.address,
    received: status.received,
    receive_errors: status.receiveErrors,
    refused: status.refused,
    accepted: status.accepted,
    forwarded: status.forwarded,
    forward_failures: status.forwardFailures,
    queue_depth: status.queueDepth,
    uncommitted: status.uncommitted,
    held: status.held,
    contested: status.contested,
    floor_writes: status.floorWrites,
    floor_write_failures: status.floorWriteFailures,
    floors_durable: status.floorsDurable,
    floor_age_seconds: Object.fromEntries(status.floorAgeSeconds),
    last_reload: reload === null
      ? null
      : { at: new Date(reload.atMs).toISOString(), ok: reload.error === null, error: reload.error },
    restart_needed: status.restartNeeded,
  };
  return JSON.stringify(document, null, 2) + "\n";
}

function renderPrometheus(status: StatusSnapshot): string {
  const reload = status.lastReload;
  const ages = [...status.floorAgeSeconds].filter((entry): entry is [string, number] => entry[1] !== null);
  return [
    metric("status_timestamp_seconds", "gauge", "Unix time of this file.", seconds(status.nowMs)),
    metric(
      "start_time_seconds",
      "gauge",
      "Unix time at which the server started.",
      seconds(status.startedAtMs),
    ),
    metric("datagrams_received_total", "counter", "Datagrams received, of any kind.", status.received),
    metric("receive_errors_total", "counter", "Failed receive calls.", status.receiveErrors),
    metric(
      "refused_total",
      "counter",
      "Datagrams refused, by reason.",
      Object.entries(status.refused).map(([reason, value]) => ({ labels: { reason }, value })),
    ),
    metric("accepted_total", "counter", "Knocks accepted.", status.accepted),
    metric("forwarded_total", "counter", "Knocks delivered to the commander.", status.forwarded),
    metric("forward_failures_total", "counter", "Knocks the commander did not take.", status.forwardFailures),
    metric("queue_depth", "gauge", "Knocks that wait for the commander.", status.queueDepth),
    metric("uncommitted_packets", "gauge", "Spent packets that wait for the disk.", status.uncommitted),
    metric("held_total", "counter", "Packets that had to wait for a draw.", status.held),
    metric("contested", "gauge", "1 while packets wait for a draw.", Number(status.contested)),
    metric("floor_writes_total", "counter", "Writes of the floors file.", status.floorWrites),
    metric("floor_write_failures_total", "counter", "Failed writes of it.", status.floorWriteFailures),
    metric("floors_durable", "gauge", "1 while every floor is on disk.", Number(status.floorsDurable)),
    metric("keys", "gauge", "Keys in force.", status.floorAgeSeconds.size),
    metric(
      "floor_age_seconds",
      "gauge",
      "Seconds between now and the key's floor.",
      ages.map(([key, value]) => ({ labels: { key }, value })),
    ),
    metric(
      "last_reload_timestamp_seconds",
      "gauge",
      "Unix time of the last reload.",
      reload === null ? [] : [{ value: reload.atMs / MS_PER_SECOND }],
    ),
    metric(
      "last_reload_success",
      "gauge",
      "1 if the last reload worked.",
      reload === null ? [] : [{ value: Number(reload.error === null) }],
    ),
    metric(
      "last_reload_error_info",
      "gauge",
      "Why the last reload failed, as a label.",
      reload === null || reload.error === null ? [] : [{ labels: { error: reload.error }, value: 1 }],
    ),
    metric(
      "restart_needed",
      "gauge",
      "1 if a changed setting waits for a restart.",
      Number(status.restartNeeded.length > 0),
    ),
  ].join("");
}

function seconds(ms: number): number {
  return ms / MS_PER_SECOND;
}

/** One family of this server. */
function metric(
  name: string,
  type: "counter" | "gauge",
  help: string,
  values: number | readonly Sample[],
): string {
  return metricFamily(`postern_knock_${name}`, type, help, values);
}
