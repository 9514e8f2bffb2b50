/** The relay beside socat, with the same two ends at each: one stream; and what a crowd of connections costs in memory. */
import type { LoggedProcess } from "../scripts/process.ts";
import { startRelay } from "../scripts/transfer_lab.ts";
import type { GroupContext } from "./group.ts";
import { median } from "./quantile.ts";
import { Crowd } from "./relay/crowd.ts";
import { atMost, type Beside, makeRow, ratioAtLeast, type Row, type RowInput, skippedRow } from "./row.ts";
import { holdsWithin, sleep } from "./sleep.ts";
import { freeTcpPort, isTcpPortTaken } from "./tcp_port.ts";
import { cpuSeconds, residentMb } from "./usage.ts";

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

/** What one stream took. */
interface Run {
  /** From its first byte to its last, at the sink. */
  readonly seconds: number;
  /** Of the relay alone, which says more where the machine has other things to do besides. */
  readonly cpuSeconds: number;
}

/** One relay under test: puts a stream through itself. */
interface Subject {
  readonly name: string;
  readonly run: (bytes: number) => Promise<Run>;
  readonly runs: Run[];
}

/** One stream through our relay and through socat, in turns, so that what else happens on the machine hits both. */
export async function measureRelayStream(context: GroupContext): Promise<Row[]> {
  const missing = await missingProgram(["python3", "-V"]);
  if (missing !== null) return [skippedRow(STREAM, "one stream through the relay", missing)];
  const [turns, bytes] = context.isQuick ? [1, GIB / 4] : [7, 2 * GIB];
  const relay = await startRelay();
  await using _process = relay.process;
  const socatMissing = await missingProgram(["socat", "-V"]);
  const ours: Subject = { name: "postern", run: (count) => throughPostern(relay, count), runs: [] };
  const peers = [262_144, 8192].map((buffer): Subject => ({
    name: `socat -b ${buffer}`,
    run: (count) => throughSocat(buffer, count),
    runs: [],
  }));
  for (let turn = 0; turn < turns; turn++) {
    context.progress(`one stream, turn ${turn + 1} of ${turns}`);
    for (const subject of [ours, ...socatMissing === null ? peers : []]) {
      subject.runs.push(await subject.run(bytes));
    }
  }
  const gigabytes = bytes / BYTES_PER_GB;
  const row = (figure: string, unit: string, of: (run: Run) => number, more: Partial<RowInput>): Row =>
    makeRow({
      group: STREAM,
      figure,
      unit,
      ours: median(ours.runs.map(of)),
      beside: peers.map(({ name, runs }): Beside => ({
        name,
        value: median(runs.map(of)),
        ...(socatMissing === null ? {} : { missing: socatMissing }),
      })),
      ...more,
    });
  return [
    row("one stream through the relay, two ends at C speed", "GB/s", ({ seconds }) => gigabytes / seconds, {
      goal: ratioAtLeast(1),
      note: `${turns} runs of ${bytes / GIB} GiB in turns; resident memory of the relay afterwards ` +
        `${residentMb(relay.process.pid).toFixed(0)} MB`,
    }),
    row("CPU time of the relay, for 1 GB of it", "s", (run) => run.cpuSeconds / gigabytes, {}),
  ];
}

async function throughPostern(
  { process, port }: { process: LoggedProcess; port: number },
  bytes: number,
): Promise<Run> {
  const before = cpuSeconds(process.pid);
  const seconds = await stream([port, port], bytes, IDENTIFIER);
  return { seconds, cpuSeconds: cpuSeconds(process.pid) - before };
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

/** socat serves one pair and ends; the shell around it then tells how much of the processor it had. */
async function throughSocat(buffer: number, bytes: number): Promise<Run> {
  const ports = [freeTcpPort(), freeTcpPort()] as const;
  const listening = ports.map((port) => `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr`);
  const socat = new Deno.Command("sh", {
    args: ["-c", 'socat "$@"; times', "sh", "-b", `${buffer}`, ...listening],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  if (!await holdsWithin(SOCAT_START_MS, () => isTcpPortTaken(ports[0]))) {
    throw new Error("socat does not listen");
  }
  const seconds = await stream(ports, bytes, "");
  const { stdout } = await socat.output();
  return { seconds, cpuSeconds: childrensCpuSeconds(new TextDecoder().decode(stdout)) };
}

/** From the second line of what `times` of a POSIX shell prints: user and system time, as `0m1.25s 0m0.50s`. */
function childrensCpuSeconds(times: string): number {
  const [, children = ""] = times.split("\n");
  const parts = [...children.matchAll(/([0-9]+)m([0-9.]+)s/g)];
  return parts.reduce((sum, [, minutes, seconds]) => sum + 60 * Number(minutes) + Number(seconds), 0);
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
