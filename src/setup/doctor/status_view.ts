/** The status file as the doctor reads it: JSON, or the text format of Prometheus (`src/server/knock/status.ts`). */
import * as v from "valibot";

export interface StatusView {
  readonly atMs: number;
  readonly startedAtMs: number;
  readonly address: string | null;
  readonly received: number;
  readonly receiveErrors: number;
  readonly refused: ReadonlyMap<string, number>;
  readonly accepted: number;
  readonly forwarded: number;
  readonly forwardFailures: number;
  readonly queueDepth: number;
  readonly contested: boolean;
  readonly floorWriteFailures: number;
  readonly floorsDurable: boolean;
  /** null: the last reload worked, or there was none. */
  readonly reloadError: string | null;
  /** Settings that wait for a restart; the text format does not name them. */
  readonly restartNeeded: readonly string[];
}

const MS_PER_SECOND = 1000;

const count = v.optional(v.number(), 0);
const DOCUMENT = v.object({
  time: v.pipe(v.string(), v.isoTimestamp()),
  started_at: v.pipe(v.string(), v.isoTimestamp()),
  address: v.string(),
  received: count,
  receive_errors: count,
  refused: v.record(v.string(), v.number()),
  accepted: count,
  forwarded: count,
  forward_failures: count,
  queue_depth: count,
  contested: v.optional(v.boolean(), false),
  floor_write_failures: count,
  floors_durable: v.optional(v.boolean(), true),
  last_reload: v.nullish(v.object({ error: v.nullable(v.string()) })),
  restart_needed: v.optional(v.array(v.string()), []),
});

/** null: this is no status file. */
export function parseStatus(path: string, text: string): StatusView | null {
  return path.endsWith(".json") ? parseJson(text) : parsePrometheus(text);
}

function parseJson(text: string): StatusView | null {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return null;
  }
  const { success, output } = v.safeParse(DOCUMENT, document);
  if (!success) return null;
  return {
    atMs: Date.parse(output.time),
    startedAtMs: Date.parse(output.started_at),
    address: output.address,
    received: output.received,
    receiveErrors: output.receive_errors,
    refused: new Map(Object.entries(output.refused)),
    accepted: output.accepted,
    forwarded: output.forwarded,
    forwardFailures: output.forward_failures,
    queueDepth: output.queue_depth,
    contested: output.contested,
    floorWriteFailures: output.floor_write_failures,
    floorsDurable: output.floors_durable,
    reloadError: output.last_reload?.error ?? null,
    restartNeeded: output.restart_needed,
  };
}

function parsePrometheus(text: string): StatusView | null {
  const values = new Map<string, number>();
  const refused = new Map<string, number>();
  let reloadError: string | null = null;
  for (const line of text.split("\n")) {
    const [, name, label, value] =
      /^postern_knock_([a-z_]+)(?:\{[a-z]+="((?:[^"\\]|\\.)*)"\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) continue;
    if (name === "refused_total") refused.set(label ?? "", Number(value));
    else if (name === "last_reload_error_info") reloadError = unescape(label ?? "");
    else if (label === undefined) values.set(name, Number(value));
  }
  const atSeconds = values.get("status_timestamp_seconds");
  if (atSeconds === undefined || Number.isNaN(atSeconds)) return null;
  const get = (name: string): number => values.get(name) ?? 0;
  return {
    atMs: atSeconds * MS_PER_SECOND,
    startedAtMs: get("start_time_seconds") * MS_PER_SECOND,
    address: null,
    received: get("datagrams_received_total"),
    receiveErrors: get("receive_errors_total"),
    refused,
    accepted: get("accepted_total"),
    forwarded: get("forwarded_total"),
    forwardFailures: get("forward_failures_total"),
    queueDepth: get("queue_depth"),
    contested: get("contested") === 1,
    floorWriteFailures: get("floor_write_failures_total"),
    floorsDurable: values.get("floors_durable") !== 0,
    reloadError,
    restartNeeded: get("restart_needed") === 1 ? ["some of them"] : [],
  };
}

function unescape(text: string): string {
  return text.replace(/\\(.)/g, (_all, character: string) => character === "n" ? "\n" : character);
}
