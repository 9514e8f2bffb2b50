/** The relay beside socat, with the same two ends at each: one stream; and what a crowd of connections costs in memory. */
import { startRelay } from "../scripts/transfer_lab.ts";
import type { GroupContext } from "./group.ts";
import { median } from "./quantile.ts";
import { Crowd } from "./relay/crowd.ts";
import { atMost, type Beside, makeRow, ratioAtLeast, type Row, skippedRow } from "./row.ts";
import { holdsWithin, sleep } from "./sleep.ts";
import { residentMb } from "./usage.ts";

const ENDS_PATH = new URL("./relay/ends.py", import.meta.url).pathname;
const BYTES_PER_GB = 1e9;
const GIB = 2 ** 30;
const IDENTIFIER = "one stream".padEnd(33);
const STREAM = "relay-stream";
const CROWD = "relay-crowd";
const PARKED = 2000;
const STAPLES = 500;
const CROWD_LIMIT_MB = 150;
const REST_MS = 2000;
const SOCAT_START_MS = 5000;

/** One relay under test: puts a stream through itself. */
interface Subject {
  readonly name: string;
  /** Ports for the source and for the sink, and what each says first. */
  readonly run: (bytes: number) => Promise<number>;
}

/** One stream through our relay and through socat, in turns, so that what else happens on the machine hits both. */
export async function measureRelayStream(context: GroupContext): Promise<Row[]> {
  const missing = await missingProgram(["python3", "-V"]);
  if (missing !== null) return [skippedRow(STREAM, "one stream through the relay", missing)];
  const [runs, bytes] = context.isQuick ? [1, GIB / 4] : [9, 4 * GIB];
  const relay = await startRelay();
  await using _process = relay.process;
  const socatMissing = await missingProgram(["socat", "-V"]);
  const ours: Subject = {
    name: "postern",
    run: (count) => stream([relay.port, relay.port], count, IDENTIFIER),
  };
  const peers: Subject[] = [262_144, 8192].map((buffer) => ({
    name: `socat -b ${buffer}`,
    run: (count) => throughSocat(buffer, count),
  }));
  const figures = new Map<Subject, number[]>();
  for (let turn = 0; turn < runs; turn++) {
    context.progress(`one stream, turn ${turn + 1} of ${runs}`);
    for (const subject of [ours, ...socatMissing === null ? peers : []]) {
      const seconds = await subject.run(bytes);
      figures.set(subject, [...figures.get(subject) ?? [], bytes / BYTES_PER_GB / seconds]);
    }
  }
  const beside = peers.map(({ name }, at): Beside => ({
    name,
    value: median(figures.get(peers[at] ?? ours) ?? []),
    ...(socatMissing === null ? {} : { missing: socatMissing }),
  }));
  return [makeRow({
    group: STREAM,
    figure: "one stream through the relay, two ends at C speed",
    unit: "GB/s",
    ours: median(figures.get(ours) ?? []),
    beside,
    goal: ratioAtLeast(1),
    note: `${runs} runs of ${bytes / GIB} GiB in turns; resident memory of the relay afterwards ` +
      `${residentMb(relay.process.pid).toFixed(0)} MB`,
  })];
}

/** Resident memory with many connections that say nothing more. */
export async function measureRelayCrowd(context: GroupContext): Promise<Row[]> {
  const [parked, staples] = context.isQuick ? [PARKED / 10, STAPLES / 10] : [PARKED, STAPLES];
  const { process, port } = await startRelay([
    ...["--max-arriving", "5000", "--max-arriving-per-ip", "5000"],
    ...["--max-parked", "5000", "--max-parked-per-ip", "5000"],
    ...["--max-staples", "5000", "--max-staples-per-ip", "5000"],
  ]);
  await using _process = process;
  const startMb = residentMb(process.pid);
  context.progress(`${parked} parked connections and ${staples} pairs`);
  using crowd = await Crowd.connect(port, { parked, staples });
  await sleep(REST_MS);
  return [makeRow({
    group: CROWD,
    figure: `relay, resident memory with ${crowd.parked} parked and ${crowd.staples} staples at rest`,
    unit: "MB",
    ours: residentMb(process.pid),
    goal: atMost(CROWD_LIMIT_MB),
    note: `${startMb.toFixed(0)} MB without any`,
  })];
}

/** Seconds that one stream takes. */
async function stream(
  [from, to]: readonly [number, number],
  bytes: number,
  identifier: string,
): Promise<number> {
  const { success, stdout, stderr } = await new Deno.Command("python3", {
    args: [ENDS_PATH, `${from}`, `${to}`, `${bytes}`, identifier],
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`the ends failed: ${decoder.decode(stderr)}`);
  return Number(decoder.decode(stdout));
}

/** socat serves one pair and ends. */
async function throughSocat(buffer: number, bytes: number): Promise<number> {
  const ports = [freePort(), freePort()] as const;
  const listening = ports.map((port) => `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr`);
  const socat = new Deno.Command("socat", {
    args: ["-b", `${buffer}`, ...listening],
    stdin: "null",
    stderr: "null",
  }).spawn();
  try {
    if (!await holdsWithin(SOCAT_START_MS, () => isListening(ports[0]))) {
      throw new Error("socat does not listen");
    }
    return await stream(ports, bytes, "");
  } finally {
    await socat.status;
  }
}

/** A port that was free a moment ago. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Whether somebody listens, without a connection to tell him. */
function isListening(port: number): boolean {
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  return new RegExp(`:${hexPort} [0-9A-F]+:0000 0A`).test(Deno.readTextFileSync("/proc/self/net/tcp"));
}

/** Why a program is not there, or null. */
async function missingProgram([program, ...args]: readonly [string, ...string[]]): Promise<string | null> {
  try {
    await new Deno.Command(program, { args, stdout: "null", stderr: "null" }).output();
    return null;
  } catch {
    return `${program} is not installed: apt-get install ${program}`;
  }
}
